// The queue by keyboard: j and k move from ticket to ticket, Enter opens (they move the focus to its link), n is next, ? helps.
"use strict";

(() => {
  const help = document.getElementById("fv-keys");
  const links = () => [...document.querySelectorAll("#result_list tr.data-row .field-customer a")];

  const move = (by) => {
    const all = links();
    if (!all.length) return;
    const here = all.indexOf(document.activeElement);
    const there = here === -1 ? 0 : Math.min(Math.max(here + by, 0), all.length - 1);
    all[there].focus();
    all[there].closest("tr").scrollIntoView({ block: "nearest" });
  };

  const does = {
    j: () => move(1),
    k: () => move(-1),
    n: () => window.location.assign(help.dataset.next),
    "?": () => help.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (typing || help.open || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!Object.hasOwn(does, event.key)) return;
    event.preventDefault();
    does[event.key]();
  });

  document.getElementById("fv-keys-open").addEventListener("click", does["?"]);
})();
