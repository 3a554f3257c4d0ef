// The rows of Gradio's table as it sorts and filters them. It tells nobody, and draws only what is in
// sight: so it is scrolled through, and the rows are known again by their texts.

/** @typedef {{ headers: string[], data: unknown[][] }} Table */

/**
 * Null where a row is not known again, or was never drawn: a file of other rows than are shown would
 * say nothing of it.
 * @param {Table} table
 * @param {string} place the table's id
 */
export async function asShown(table, place) {
  const view = document.querySelector(`#${place} .virtual-table-viewport`);
  if (view === null) return table.data.length ? null : [];
  const order = [...(await drawnRows(view))].sort(([one], [other]) => one - other);
  /** @type {Map<string, unknown[][]>} */
  const rows = new Map();
  for (const row of table.data) {
    const key = text(row.map((value) => String(value ?? "").replace(/^<a [^>]*>|<\/a>$/g, "")));
    rows.set(key, [...(rows.get(key) ?? []), row]);
  }
  const found = [];
  for (const [at, [index, key]] of order.entries()) {
    const row = index === at ? rows.get(key)?.shift() : undefined;
    if (row === undefined) return null;
    found.push(row);
  }
  return found;
}

/**
 * Each row's place and text.
 * @param {Element} view
 */
async function drawnRows(view) {
  /** @type {Map<number, string>} */
  const seen = new Map();
  const before = view.scrollTop;
  for (let top = 0; ; top += view.clientHeight / 2) {
    view.scrollTop = top;
    await drawn();
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (view.querySelectorAll(".virtual-row"))) {
      const cells = [...row.querySelectorAll("td, [role=gridcell]")];
      seen.set(Number(row.dataset.index), text(cells.map((each) => each.textContent ?? "")));
    }
    if (view.scrollTop + view.clientHeight >= view.scrollHeight - 1) break;
  }
  view.scrollTop = before;
  return seen;
}

/**
 * What two ways to write a row have in common: long cells are cut on the screen.
 * @param {string[]} cells
 */
function text(cells) {
  return JSON.stringify(cells.map((cell) => cell.replace(/\s+/g, "").slice(0, 100)));
}

function drawn() {
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}
