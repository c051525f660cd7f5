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
  const active = document.activeElement;
  const focused = section.contains(active) ? active.id : "";
  const had = focused || section.contains(active);
  section.innerHTML = html;
  if (!had) return;
  const again = focused && document.getElementById(focused);
  if (again) { again.focus({ preventScroll: true }); return; }
  // What was focused is gone, as a Kill button is with its run: the keyboard goes on from its section.
  section.tabIndex = -1;
  section.focus({ preventScroll: true });
}

const trouble = document.getElementById("trouble");
const live = document.body.dataset.live;
const NO_ANSWER = "No connection to the server. What is shown is old; trying again.";

function connect() {
  const source = new EventSource(live);
  const leave = () => source.close();
  window.addEventListener("pagehide", leave, { once: true });
  source.addEventListener("page", (event) => {
    trouble.textContent = "";
    for (const [id, html] of Object.entries(JSON.parse(event.data))) show(id, html);
    document.body.dataset.connected = "yes";
  });
  source.addEventListener("trouble", (event) => {
    trouble.textContent = `${JSON.parse(event.data)} - what is shown is old; trying again.`;
  });
  source.addEventListener("over", () => { source.close(); location.reload(); });
  source.addEventListener("error", () => {
    document.body.dataset.connected = "no";
    trouble.textContent = NO_ANSWER;
    // Browsers come again by themselves after a broken stream, but not after an answer that is no stream.
    if (source.readyState !== EventSource.CLOSED) return;
    window.removeEventListener("pagehide", leave);
    setTimeout(connectAgain, 3000);
  });
}

async function connectAgain() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.status === 401) { location.reload(); return; }
  } catch { /* it does not answer at all: the next stream tells */ }
  connect();
}

if (live) connect();

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
