// What the pages around the card do in the browser: their head, reopening, and downloads.
import { call, explained, loggedOut, loginAddress, speakFor } from "../http.js";
import { label, language, words } from "../words/words.js";
import { csv } from "./csv.js";
import { asShown } from "./table.js";

let known = /** @type {Ui.Parts["pages"]} */ ({});

/** @param {HTMLElement} element Gradio's component around the template */
export async function mount(element) {
  const root = /** @type {HTMLElement | null} */ (element.querySelector(".rv"));
  if (root === null || root.dataset.mounted) return;
  root.dataset.mounted = "yes";
  root.lang = language();
  the(root, '[data-act="logout"]').addEventListener("click", async () => {
    await call("POST", "/logout").catch(() => null);
    location.replace("/login");
  });
  known = await words("pages");
  label(root, known);
  the(root, "nav").setAttribute("aria-label", known.nav);
  const current = the(root, "[aria-current]").textContent ?? "";
  the(root, "h1").textContent = current;
  document.title = `${current} · Review`;
  try {
    const { name } = await call("GET", "/me");
    the(root, '[data-id="who"]').textContent = name;
    speakFor(name);
  } catch (error) {
    if (loggedOut(error)) location.replace(loginAddress());
  }
}

/**
 * Takes the decision with this key back and goes to its item on the card.
 * @param {string} key
 */
export async function reopen(key) {
  if (!key) return say(known.reopen_hint);
  try {
    const { task } = await call("POST", `/decisions/${encodeURIComponent(key)}/undo`);
    if (task === null) say(known.reopened_elsewhere);
    else location.assign(`/?task=${task.id}`);
  } catch (error) {
    say(explained(error, known));
  }
}

/**
 * Saves what the table shows as CSV, in the order and with the filter that it shows it in.
 * @param {import("./table.js").Table} table
 * @param {string} name the file's
 * @param {string} place the table's id
 */
export async function download(table, name, place) {
  const rows = await asShown(table, place);
  if (rows === null) return say(known.download_unread);
  const text = csv(table.headers, rows, table.headers.indexOf(known.take_up));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * @param {ParentNode} root
 * @param {string} selector
 */
function the(root, selector) {
  const found = root.querySelector(selector);
  if (found === null) throw new Error(`no ${selector} on this page`);
  return found;
}

/** @param {string} text */
function say(text) {
  const toast = the(document, ".rv-frame [data-id=toast]");
  toast.textContent = text;
  toast.classList.add("rv-on");
  setTimeout(() => toast.classList.remove("rv-on"), 4_000);
}
