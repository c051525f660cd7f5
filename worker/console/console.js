"use strict";
// Sections come as markup that the server has escaped; forms are sent in the background, and work without this, too.
const said = document.getElementById("said");
let sayingUntil;

function say(text) {
  said.textContent = text;
  clearTimeout(sayingUntil);
  sayingUntil = setTimeout(() => { said.textContent = ""; }, 6000);
}

function isBeingWritten(section) {
  const active = document.activeElement;
  if (section.contains(active) && active.matches("input, select")) return true;
  return [...section.querySelectorAll("input:not([type=hidden])")].some((each) => each.value !== each.defaultValue);
}

function show(id, html) {
  const section = document.getElementById(id);
  if (!section || isBeingWritten(section)) return;
  const focused = section.contains(document.activeElement) ? document.activeElement.id : "";
  section.innerHTML = html;
  if (focused) document.getElementById(focused)?.focus();
}

const live = document.body.dataset.live;
if (live) {
  const source = new EventSource(live);
  source.addEventListener("page", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) show(id, html);
    document.body.dataset.connected = "yes";
  });
  source.addEventListener("over", () => { source.close(); location.reload(); });
  source.addEventListener("error", () => { document.body.dataset.connected = "no"; });
  window.addEventListener("pagehide", () => source.close());
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-act]")) return;
  event.preventDefault();
  const question = form.dataset.ask;
  if (question && !confirm(question)) return;
  // Not form.action: a field of that name stands before it.
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "application/json" },
    });
    const told = await answer.json();
    say(told.message);
    if (told.done) form.reset();
  } catch {
    say("The server did not answer; nothing is known of what was asked.");
  } finally {
    button.disabled = false;
    button.focus();
  }
});
