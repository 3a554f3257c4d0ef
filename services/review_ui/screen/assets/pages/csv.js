// A table as CSV (RFC 4180) that a spreadsheet shows and never runs.

/**
 * @param {string[]} headers
 * @param {unknown[][]} rows
 * @param {number} links the column of links, of which the address is written; -1: there is none
 */
export function csv(headers, rows, links) {
  const plain = rows.map((row) => row.map((value, at) => (at === links ? address(value) : value)));
  const lines = [headers, ...plain].map((row) => row.map(cell).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

/** @param {unknown} link */
function address(link) {
  const found = /href="([^"]*)"/.exec(String(link ?? ""));
  return found?.[1] === undefined ? "" : new URL(found[1], location.origin).href;
}

/** @param {unknown} value */
function cell(value) {
  // A spreadsheet would run what begins like a formula.
  const plain = String(value ?? "").replace(/^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/, "'$&");
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
