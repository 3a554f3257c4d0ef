// Words that speak for or against the label: marked as text, named, and never for a blind item.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Highlights } from "../../services/review_ui/screen/assets/card/highlights.js";
import words from "../../services/review_ui/screen/assets/words/en.json" with { type: "json" };
import { elements, open, refusal, serve, settle } from "./support/page.js";
import { task } from "./support/tasks.js";

const PIECES = [
  { text: "A ", weight: null },
  { text: "<b>generous</b>", weight: 2 },
  { text: " and ", weight: 0.1 },
  { text: "dull", weight: -0.5 },
  { text: " Dull", weight: -0.3 },
];

beforeEach(() => {
  open();
  mock.timers.reset();
});

function shown(on = true) {
  if (on) localStorage.setItem("hitl-highlights", "on");
  const at = elements();
  return { at, highlights: new Highlights(at, words.card) };
}

test("strong words are marked, by direction and strength, and stay text", () => {
  const { at, highlights } = shown();
  highlights.draw(task("a", { highlights: PIECES }));
  const marks = [...at("text").querySelectorAll("mark")];
  assert.deepEqual(
    marks.map(({ textContent, className }) => [textContent, className]),
    [
      ["<b>generous</b>", "rv-for rv-strength-3"],
      ["dull", "rv-against rv-strength-1"],
      [" Dull", "rv-against rv-strength-1"],
    ],
  );
  assert.equal(at("text").textContent, PIECES.map(({ text }) => text).join(""));
  assert.equal(at("text").querySelector("b"), null);
});

test("below the text each side is named, the strongest first", () => {
  const { at, highlights } = shown();
  highlights.draw(task("a", { highlights: [...PIECES, { text: "warm", weight: 3 }] }));
  const named = [...at("legend").querySelectorAll("mark")].map(({ textContent }) => textContent);
  assert.deepEqual(named.slice(0, 3), ["warm", "<b>generous</b>", "dull"]);
});

test("a blind item shows none and asks for none", async () => {
  const asked = serve(() => ({ pieces: PIECES }));
  const { at, highlights } = shown();
  highlights.draw(task("a", { suggestion: null, blind: true, highlights: PIECES }));
  await settle();
  assert.equal(at("text").querySelector("mark"), null);
  assert.equal(at("highlights").hidden, true);
  assert.deepEqual(asked, []);
});

test("marks are off until they are wanted, and the choice is kept", () => {
  const { at, highlights } = shown(false);
  highlights.draw(task("a", { highlights: PIECES }));
  assert.equal(at("text").querySelector("mark"), null);
  assert.equal(highlights.toggle(), true);
  assert.ok(at("text").querySelector("mark"));
  assert.equal(shown(false).highlights.on, true);
});

test("an item just routed is asked for again, and only while it is shown", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let weighed = false;
  const asked = serve(() => (weighed ? { pieces: PIECES } : refusal(404, "not_weighed")));
  const { at, highlights } = shown();
  highlights.draw(task("a"));
  await settle();
  weighed = true;
  mock.timers.tick(1_500);
  await settle();
  assert.equal(asked.length, 2);
  assert.ok(at("text").querySelector("mark"));
  // Given another one that is not weighed, and is gone before the next try
  weighed = false;
  highlights.draw(task("b"));
  await settle();
  highlights.draw(task("c", { highlights: PIECES }));
  mock.timers.tick(60_000);
  await settle();
  assert.equal(asked.length, 3);
});
