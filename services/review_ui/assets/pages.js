// What can the pages around the card do in the browser? Their head, reopening, and downloads.
import { call, loginAddress, speakFor } from "./http.js";
import { label, language, words } from "./words.js";

let known = {};

export async function mount(element) {
  const root = element.querySelector(".rv");
  if (root === null || root.dataset.mounted) return;
  root.dataset.mounted = "yes";
  root.lang = language();
  root.querySelector('[data-act="logout"]').addEventListener("click", async () => {
    await call("POST", "/logout").catch(() => null);
    location.replace("/login");
  });
  known = await words("pages");
  label(root, known);
  root.querySelector("nav").setAttribute("aria-label", known.nav);
  const current = root.querySelector("[aria-current]").textContent;
  root.querySelector("h1").textContent = current;
  document.title = `${current} · Review`;
  try {
    const { name } = await call("GET", "/me");
    root.querySelector('[data-id="who"]').textContent = name;
    speakFor(name);
  } catch (error) {
    if (error.status === 401) location.replace(loginAddress());
  }
}

/** Takes the decision with this key back and goes to its item on the card. */
export async function reopen(key) {
  if (!key) return say(known.reopen_hint);
  try {
    const { task } = await call("POST", `/decisions/${encodeURIComponent(key)}/undo`);
    if (task === null) say(known.reopened_elsewhere);
    else location.assign(`/?task=${task.id}`);
  } catch (error) {
    say(known[`error_${error.code}`] ?? error.message);
  }
}

/** Saves what the table shows as CSV (RFC 4180); of a link its address. */
export function download(table, name) {
  const links = table.headers.indexOf(known.take_up);
  const plain = (row) => row.map((value, at) => cell(at === links ? address(value) : value));
  const lines = [table.headers.map(cell), ...table.data.map(plain)].map((row) => row.join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function address(link) {
  const found = /href="([^"]*)"/.exec(link);
  return found === null ? "" : new URL(found[1], location.origin).href;
}

function cell(value) {
  // A spreadsheet would run what begins like a formula.
  const text = String(value ?? "").replace(/^[=+\-@\t\r]/, "'$&");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function say(text) {
  const toast = document.querySelector(".rv-frame [data-id=toast]");
  toast.textContent = text;
  toast.classList.add("rv-on");
  setTimeout(() => toast.classList.remove("rv-on"), 4_000);
}
