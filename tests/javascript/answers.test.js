// The parts of the cards that show nothing: differences, orders, and what a schema finds wrong.
import assert from "node:assert/strict";
import { test } from "node:test";
import { difference } from "../../services/review_ui/screen/assets/card/difference.js";
import { typed } from "../../services/review_ui/screen/assets/card/form-controls.js";
import { same } from "../../services/review_ui/screen/assets/card/predicted.js";
import { problems } from "../../services/review_ui/screen/assets/card/schema.js";
import { wholeAnswer } from "../../services/review_ui/screen/assets/card/whole-answer.js";
import { shuffled } from "../../services/review_ui/screen/assets/card/shuffled.js";

test("a difference keeps both texts whole", () => {
  const words = ["a", "b", "c", " ", "\n", "ä", "👍", "."];
  let state = 7;
  const drawn = () => {
    let text = "";
    for (let left = 12; left > 0; left -= 1) {
      state = (state * 48271) % 2147483647;
      text += words[state % words.length];
    }
    return text;
  };
  for (let round = 0; round < 300; round += 1) {
    const [before, after] = [drawn(), drawn()];
    const parts = difference(before, after);
    const without = (/** @type {string} */ kind) => parts.filter((each) => each.kind !== kind).map(({ text }) => text).join("");
    assert.deepEqual([without("new"), without("gone")], [before, after]);
  }
});

test("a difference names the words that changed", () => {
  assert.deepEqual(difference("Peter pay now", "Peter, pay soon"), [
    { kind: "same", text: "Peter" },
    { kind: "new", text: "," },
    { kind: "same", text: " pay " },
    { kind: "gone", text: "now" },
    { kind: "new", text: "soon" },
  ]);
});

test("of a long text it names the words as well, where many sentences changed and where one is new", () => {
  const before = Array.from({ length: 900 }, (_, nth) => `The river ${nth} is long.`).join(" ");
  const named = (/** @type {string} */ after) =>
    difference(before, after).flatMap(({ kind, text }) => (kind === "same" ? [] : [[kind, text]]));
  const everywhere = named(before.replaceAll("river", "lake"));
  assert.equal(everywhere.length, 1_800);
  assert.deepEqual(everywhere.slice(0, 2), [["gone", "river"], ["new", "lake"]]);
  assert.deepEqual(named(before.replace("river 450 is long.", "river 450 is very long. And wide.")), [
    ["new", "very "],
    ["new", ". And wide"],
  ]);
});

test("an order is the same for a seed, complete, and fair between seeds", () => {
  assert.deepEqual(shuffled(5, "ada 1"), shuffled(5, "ada 1"));
  const seeds = Array.from({ length: 2_000 }, (_, nth) => `ada\n${nth}`);
  for (const seed of seeds.slice(0, 50)) assert.deepEqual(shuffled(5, seed).sort(), [0, 1, 2, 3, 4]);
  const swapped = seeds.filter((seed) => shuffled(2, seed)[0] === 1).length;
  assert.ok(swapped > 900 && swapped < 1_100, String(swapped));
});

test("a schema names each field that is wrong, also within lists and references", () => {
  const schema = {
    type: "object",
    $defs: { line: { type: "object", properties: { amount: { type: "integer", maximum: 9 } }, required: ["amount"] } },
    properties: {
      name: { type: "string", minLength: 2, pattern: "^[A-Z]" },
      kind: { enum: ["a", "b"] },
      lines: { type: "array", items: { $ref: "#/$defs/line" }, minItems: 1 },
    },
    required: ["name"],
  };
  const found = (/** @type {unknown} */ value) => problems(schema, value).map(({ path, why }) => [path, why]);
  assert.deepEqual(found({ name: "Ab", kind: "a", lines: [{ amount: 3 }] }), []);
  assert.deepEqual(found({}), [["name", "wrong_missing"]]);
  assert.deepEqual(found({ name: "A", kind: "c", lines: [] }), [
    ["name", "wrong_short"],
    ["kind", "wrong_choice"],
    ["lines", "wrong_few"],
  ]);
  assert.deepEqual(found({ name: "👍👍", lines: [{ amount: 1.5 }, {}, { amount: 10 }] }), [
    ["name", "wrong_pattern"],
    ["lines.0.amount", "wrong_type"],
    ["lines.1.amount", "wrong_missing"],
    ["lines.2.amount", "wrong_high"],
  ]);
});

test("a number that a page would round is named wrong, whatever the schema says of it", () => {
  const schema = { type: "object", properties: { id: { type: "integer" } } };
  const found = (/** @type {string} */ text) =>
    problems(schema, { id: typed(text, schema.properties.id, "integer", true) }).map(({ path, why, what }) => [path, why, what]);
  assert.deepEqual(found("9007199254740991"), []);
  assert.deepEqual(found("9007199254740993"), [["id", "wrong_high", "9007199254740991"]]);
  assert.deepEqual(found("-9007199254740993"), [["id", "wrong_low", "-9007199254740991"]]);
  assert.deepEqual(problems({}, { deep: [1e300] }), []); // the server names it: the schema does not
});

test("what is typed becomes a value of the schema's type, or stays a text to be named wrong", () => {
  const number = { type: "number" };
  const read = (/** @type {string} */ text) => typed(text, number, "number", true);
  assert.deepEqual(["12.50", "-3", "12,5", ""].map(read), [12.5, -3, "12,5", undefined]);
  assert.equal(typed("", { type: ["number", "null"] }, "number", true), null);
  assert.equal(typed("12", { type: "string" }, "string", true), "12");
});

test("answers are the same whatever the order of their keys", () => {
  assert.ok(same({ a: [1, { b: null }], c: "x" }, { c: "x", a: [1, { b: null }] }));
  for (const other of [{ a: [1] }, { a: { 0: 1, 1: 2 } }, { a: [2, 1] }, null]) assert.ok(!same({ a: [1, 2] }, other));
});

test("an answer is told whole where its short line may not be enough", () => {
  const task = { text: "👍 Peter of ACME", candidates: ["one", "another"] };
  const spans = [{ start: 2, end: 7, label: "PER" }, { start: 11, end: 15, label: "ORG" }];
  assert.equal(wholeAnswer(task, { spans }), "PER: Peter\nORG: ACME");
  assert.equal(wholeAnswer(task, { text: "a\nb" }), "a\nb");
  assert.equal(wholeAnswer(task, { preferred: 1 }), "another");
  assert.equal(wholeAnswer(task, { form: { to: "A", lines: [{ n: 1 }] } }), 'to: A\nlines: [{"n":1}]');
  for (const said of [{ preferred: null }, { labels: ["toxic"] }, { spans: [] }, null, undefined]) {
    assert.equal(wholeAnswer(task, said), null);
  }
});
