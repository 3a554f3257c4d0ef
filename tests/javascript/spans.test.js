// Spans as a list, and a selection that goes by words.
import assert from "node:assert/strict";
import { test } from "node:test";
import { added, stretches } from "../../services/review_ui/screen/assets/card/span-list.js";
import { extended, moved, trimmed, words } from "../../services/review_ui/screen/assets/card/word-steps.js";

const span = (/** @type {number} */ start, /** @type {number} */ end, label = "PER") => ({ start, end, label });

test("a new span takes the place of what it overlaps, unless spans may overlap", () => {
  const spans = [span(0, 5), span(9, 13, "ORG")];
  assert.deepEqual(added(spans, span(3, 10), false), [span(3, 10)]);
  assert.deepEqual(added(spans, span(5, 9), false), [span(0, 5), span(5, 9), span(9, 13, "ORG")]);
  assert.deepEqual(added(spans, span(3, 10), true), [span(0, 5), span(3, 10), span(9, 13, "ORG")]);
  assert.deepEqual(added(spans, span(0, 5), true), spans); // none twice
});

test("stretches cover the text once, with every span over it", () => {
  const [outer, inner, touching] = [span(0, 9), span(3, 6, "ORG"), span(9, 10)];
  assert.deepEqual(stretches([outer, inner, touching], 12), [
    { start: 0, end: 3, covers: [outer] },
    { start: 3, end: 6, covers: [outer, inner] },
    { start: 6, end: 9, covers: [outer] },
    { start: 9, end: 10, covers: [touching] },
    { start: 10, end: 12, covers: [] },
  ]);
  assert.deepEqual(stretches([], 0), []);
});

const TEXT = "Peter of ACME, paid.";
const ALL = words(TEXT, "en");
const read = (/** @type {{ anchor: number, focus: number } | null} */ selected) =>
  selected && TEXT.slice(Math.min(selected.anchor, selected.focus), Math.max(selected.anchor, selected.focus));

test("arrows go from word to word and stay at the ends", () => {
  const first = moved(ALL, null, 1);
  assert.equal(read(first), "Peter");
  const second = moved(ALL, first, 1);
  assert.deepEqual([read(second), read(moved(ALL, second, 1))], ["of", "ACME"]);
  assert.deepEqual([read(moved(ALL, first, -1)), read(moved(ALL, second, -1))], ["Peter", "Peter"]);
  assert.equal(moved([], null, 1), null);
});

test("with Shift they extend it, take it back, and go on at the other end", () => {
  const of = { anchor: 6, focus: 8 };
  const more = extended(ALL, of, 1);
  assert.equal(read(more), "of ACME");
  assert.deepEqual(extended(ALL, more, -1), of);
  assert.equal(read(extended(ALL, of, -1)), "Peter of");
  assert.equal(read(extended(ALL, { anchor: 8, focus: 0 }, 1)), "of");
  assert.deepEqual(extended(ALL, { anchor: 15, focus: 19 }, 1), { anchor: 15, focus: 19 });
});

test("blanks around a selection do not count", () => {
  assert.deepEqual(trimmed("  a b ", { anchor: 0, focus: 6 }), { anchor: 2, focus: 5 });
  assert.deepEqual(trimmed("  a b ", { anchor: 6, focus: 0 }), { anchor: 5, focus: 2 });
  assert.equal(trimmed("   ", { anchor: 0, focus: 2 }), null);
});
