// What can the pages around the card do in the browser? Their head, reopening, and downloads.
import { call, loginAddress, speakFor } from "../http.js";
import { label, language, words } from "../words/words.js";

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

/** Saves what the table shows as CSV (RFC 4180), in the order and with the filter that it shows it
 *  in; of a link its address. `place`: the table's id. */
export async function download(table, name, place) {
  const links = table.headers.indexOf(known.take_up);
  const rows = await asShown(table, place);
  if (rows === null) return say(known.download_unread);
  const plain = (row) => row.map((value, at) => cell(at === links ? address(value) : value));
  const lines = [table.headers.map(cell), ...rows.map(plain)].map((row) => row.join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The rows as the table sorts and filters them. It tells nobody, and draws only what is in sight: so
 *  it is scrolled through, and the rows are known again by their texts. Null where one is not, or
 *  was never drawn: a file of other rows than are shown would say nothing of it. */
async function asShown(table, place) {
  const view = document.querySelector(`#${place} .virtual-table-viewport`);
  if (view === null) return table.data.length ? null : [];
  const seen = new Map();
  const before = view.scrollTop;
  for (let top = 0; ; top += view.clientHeight / 2) {
    view.scrollTop = top;
    await drawn();
    for (const row of view.querySelectorAll(".virtual-row")) {
      const cells = [...row.querySelectorAll("td, [role=gridcell]")];
      seen.set(Number(row.dataset.index), text(cells.map((each) => each.textContent)));
    }
    if (view.scrollTop + view.clientHeight >= view.scrollHeight - 1) break;
  }
  view.scrollTop = before;
  const rows = new Map();
  for (const row of table.data) {
    const key = text(row.map((value) => String(value ?? "").replace(/^<a [^>]*>|<\/a>$/g, "")));
    rows.set(key, [...(rows.get(key) ?? []), row]);
  }
  const order = [...seen].sort(([one], [other]) => one - other);
  const found = order.map(([index, key], at) => (index === at ? rows.get(key)?.shift() : undefined));
  return found.includes(undefined) ? null : found;
}

/** What two ways to write a row have in common: long cells are cut on the screen. */
function text(cells) {
  return JSON.stringify(cells.map((cell) => cell.replace(/\s+/g, "").slice(0, 100)));
}

function drawn() {
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}

function address(link) {
  const found = /href="([^"]*)"/.exec(link);
  return found === null ? "" : new URL(found[1], location.origin).href;
}

function cell(value) {
  // A spreadsheet would run what begins like a formula.
  const plain = String(value ?? "").replace(/^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/, "'$&");
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

function say(text) {
  const toast = document.querySelector(".rv-frame [data-id=toast]");
  toast.textContent = text;
  toast.classList.add("rv-on");
  setTimeout(() => toast.classList.remove("rv-on"), 4_000);
}
