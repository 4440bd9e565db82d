// What was typed survives a session that expired: a form that is sent leaves a draft in this tab, and the page that people are led
// back to after the login (its address ends in #fv-restored) fills it in again. Any other page forgets it. Passwords are never kept.
"use strict";

(() => {
  const KEY = "fv-draft", MARK = "#fv-restored";
  const user = document.querySelector("meta[name=fv-user]")?.content || "";
  const addressOf = (form) => new URL(form.getAttribute("action") || window.location.href, window.location.href).pathname;
  const isTyped = (field) => field.name && !["hidden", "password", "file", "submit", "button", "image", "reset"].includes(field.type);
  const labelOf = (field) => field.labels?.[0]?.textContent.trim() || field.name;

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    const fields = [...form.elements].filter(isTyped).map((field) => ({
      name: field.name, value: field.value, checked: field.checked, label: labelOf(field),
    }));
    window.sessionStorage.setItem(KEY, JSON.stringify({ user, action: addressOf(form), fields }));
  });

  const kept = window.sessionStorage.getItem(KEY);
  window.sessionStorage.removeItem(KEY);
  if (!kept || window.location.hash !== MARK) return;
  const draft = JSON.parse(kept);
  if (draft.user !== user) return;  // somebody else logged in here

  const form = [...document.forms].find((each) => each.method === "post" && addressOf(each) === draft.action);
  const left = [];
  let first = null;
  for (const each of draft.fields) {
    const fields = [...(form?.elements || [])].filter((field) => isTyped(field) && field.name === each.name);
    const chooses = (field) => ["checkbox", "radio"].includes(field.type);
    const field = fields.find((one) => !chooses(one) || one.value === each.value);
    if (!field) {
      if (each.value.trim()) left.push(`${each.label}: ${each.value}`);
      continue;
    }
    if (chooses(field)) field.checked = each.checked;
    else if (field.value !== each.value) {
      field.value = each.value;
      first ??= field;
    }
  }
  if (form) form.dataset.fvDirty = "1";
  const banner = document.getElementById("fv-restored");
  if (banner) {
    const lost = left.length ? ` These fields are not on the page any more: ${left.join("; ")}` : " What you typed is filled in again.";
    banner.querySelector("[data-fv-text]").textContent = `You had to log in again, and nothing was done.${lost}`;
    banner.hidden = false;
  }
  for (let fold = first?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  first?.focus();
})();
