// Pages that wait for a person show by themselves what changed: a small address says when, then the parts that changed are drawn
// again from the page's own address. What somebody is typing or has chosen is never touched, and the focus stays where it is.
"use strict";

(() => {
  const source = document.querySelector("[data-fv-follow]");
  if (!source) return;

  const QUICK = 2000, STEADY = 5000, SLOW = 15000, PATIENCE = 120000, LONG = 600000;
  const started = Date.now();
  const banner = document.getElementById("fv-changed");
  const bannerText = document.getElementById("fv-changed-text");
  let timer = 0;
  let moving = source.dataset.moving === "1";
  let news = source.dataset.news || "";

  const again = () => {
    window.clearTimeout(timer);
    const open = Date.now() - started;
    timer = window.setTimeout(look, moving && open < PATIENCE ? QUICK : open < LONG ? STEADY : SLOW);
  };

  const tell = (text) => {
    if (!banner || !text) return;
    if (bannerText.textContent !== text) bannerText.textContent = text;
    banner.hidden = false;
  };

  document.addEventListener("input", (event) => { if (event.target.form) event.target.form.dataset.fvDirty = "1"; });
  document.addEventListener("change", (event) => { if (event.target.form) event.target.form.dataset.fvDirty = "1"; });

  const isTypedIn = (part) => {
    const active = document.activeElement;
    const typing = active && part.contains(active) && active.matches("input, textarea, select");
    return typing || part.querySelector("form[data-fv-dirty], [data-fv-typed]") !== null;
  };
  const isSelected = () => !(window.getSelection()?.isCollapsed ?? true);

  // What was unfolded stays unfolded (and folded, folded), and the keyboard stays where it was.
  const nameOf = (fold) => fold.id || fold.querySelector("summary")?.textContent.replace(/\d+/g, "").trim() || "";
  const redraw = (part, html) => {
    const folds = new Map([...part.querySelectorAll("details")].map((fold) => [nameOf(fold), fold.open]));
    const active = document.activeElement;
    const within = active && part.contains(active) ? active : null;
    const place = within && focusPlace(part, within);
    part.innerHTML = html;
    part.querySelectorAll("details").forEach((fold) => { if (folds.has(nameOf(fold))) fold.open = folds.get(nameOf(fold)); });
    if (place) focusable(part).find((each) => place(each))?.focus({ preventScroll: true });
  };
  const focusable = (part) => [...part.querySelectorAll("a[href], button, summary, [id][tabindex]")];
  const signature = (each) => [each.tagName, each.id, each.getAttribute("href") || "", each.textContent.replace(/\d+/g, "").trim()].join("|");
  const focusPlace = (part, element) => {
    if (element.id) return (each) => each.id === element.id;
    const wanted = signature(element);
    return (each) => signature(each) === wanted;
  };

  // A list keeps its rows (somebody may have ticked some): cells change in place; other rows need the page anew.
  const rowsOf = (root) => [...root.querySelectorAll("#result_list tr.data-row")];
  const keyOf = (row) => row.querySelector("a[href]")?.getAttribute("href") || "";
  const refreshList = (fresh) => {
    const here = rowsOf(document), there = rowsOf(fresh);
    if (here.map(keyOf).join(" ") !== there.map(keyOf).join(" ")) {
      const idle = document.activeElement === document.body && !document.querySelector("form[data-fv-dirty], dialog[open]") && !isSelected();
      if (idle) return window.location.reload();
      return tell("The list has changed since you opened it.");
    }
    here.forEach((row, at) => {
      [...row.cells].forEach((cell, column) => {
        const other = there[at].cells[column];
        if (!other || cell.querySelector("input") || cell.contains(document.activeElement)) return;
        if (cell.innerHTML !== other.innerHTML) cell.innerHTML = other.innerHTML;
      });
    });
  };

  // Returns false where something that changed could not be shown, because somebody is at work there.
  const refresh = async () => {
    const answer = await fetch(source.dataset.page || window.location.pathname + window.location.search, { credentials: "same-origin" });
    if (answer.redirected || !answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (document.getElementById("result_list")) refreshList(fresh);
    let shown = true;
    document.querySelectorAll("[data-fv-region]").forEach((part) => {
      const other = fresh.getElementById(part.id);
      const html = other ? other.innerHTML : "";
      const plain = (text) => text.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
      if (plain(html) === plain(part.innerHTML)) return;
      if (isTypedIn(part) || isSelected()) { shown = false; return; }
      redraw(part, html);
    });
    return shown;
  };

  const look = async () => {
    if (document.hidden) return again();
    try {
      const answer = await fetch(source.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (answer.redirected) return tell("You were logged out. Save all the same: you are asked to log in, and what you typed is kept.");
      if (!answer.ok) return again();
      const state = await answer.json();
      moving = Boolean(state.moving);
      if (state.html !== undefined && source.dataset.html !== state.html) {
        redraw(source, state.html);
        source.dataset.html = state.html;
      }
      const told = state.news && state.news.id !== news ? state.news.text : "";
      if (source.dataset.confirms !== undefined) {
        if (told) tell(told);  // a question is not changed under the hand that answers it
        news = state.news ? state.news.id : news;
      } else if (state.version !== source.dataset.version) {
        const shown = await refresh();
        if (shown) source.dataset.version = state.version;
        else tell(`${told || banner?.dataset.plain || ""} What you typed here is kept.`.trim());
        if (shown && told) tell(told);
        if (shown) news = state.news ? state.news.id : news;
      }
    } catch {
      // The next look may reach it.
    }
    again();
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  again();
})();
