// The console's own behaviour. Every page works without it: reload shows the fresh state.
"use strict";

(() => {
  // One submit a form: a second click does nothing while the first is under way.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-fv-once]")) return;
    if (form.dataset.sent) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    form.dataset.sent = "1";
    form.querySelectorAll("button[type=submit]").forEach((button) => button.setAttribute("aria-busy", "true"));
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
})();
