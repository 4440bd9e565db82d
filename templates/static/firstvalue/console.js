// The console's own behaviour. Every page works without it: reload shows the fresh state.
"use strict";

(() => {
  // One submit a form: a second click does nothing while the first is under way.
  document.querySelectorAll("form[data-fv-once]").forEach((form) => {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) {
        event.preventDefault();
        return;
      }
      form.dataset.sent = "1";
      form.querySelectorAll("button[type=submit]").forEach((button) => button.setAttribute("aria-busy", "true"));
    });
  });
  // Back from the browser's cache the forms are usable again.
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-fv-once]").forEach((form) => {
      delete form.dataset.sent;
      form.querySelectorAll("button[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
    });
  });

  // A link to a folded part opens it, and what it lies in.
  const unfold = () => {
    const part = window.location.hash ? document.getElementById(decodeURIComponent(window.location.hash.slice(1))) : null;
    if (!part) return;
    for (let fold = part.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    part.scrollIntoView();
  };
  window.addEventListener("hashchange", unfold);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.getAttribute("href") === window.location.hash) unfold();  // the same link again changes no hash
  });
  unfold();

  const live = document.getElementById("fv-live");
  if (!live) return;

  let touched = false;
  document.addEventListener("input", () => { touched = true; });
  const started = Date.now();

  const again = () => {
    const patient = Date.now() - started > 120000;
    window.setTimeout(look, patient ? 10000 : 2000);
  };

  // What was unfolded stays unfolded, and the keyboard stays where it was.
  const redraw = (html) => {
    const unfolded = [...live.querySelectorAll("details[id][open]")].map((fold) => fold.id);
    const within = document.activeElement?.closest("#fv-live [id]");
    const focused = within && document.activeElement.tagName === "SUMMARY" ? `#${CSS.escape(within.id)} > summary` : within && `#${CSS.escape(within.id)}`;
    live.innerHTML = html;
    live.dataset.html = html;
    unfolded.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    if (focused) live.querySelector(focused)?.focus({ preventScroll: true });
  };

  const look = async () => {
    if (document.hidden) return again();
    try {
      const answer = await fetch(live.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return again();
      const news = await answer.json();
      if (live.dataset.html !== news.html) redraw(news.html);
      if (news.version !== live.dataset.version) {
        if (!touched) return window.location.reload();
        document.getElementById("fv-changed").hidden = false;
      }
      if (news.moving) again();
    } catch {
      again();
    }
  };

  if (live.dataset.moving === "1") again();
})();
