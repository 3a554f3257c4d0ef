// Values as people read them: never rounded up to certainty, never cut within a character.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { showAnswers } from "../../services/review_ui/screen/assets/card/answers.js";
import { Attention } from "../../services/review_ui/screen/assets/card/attention.js";
import { middle } from "../../services/review_ui/screen/assets/card/day.js";
import { landing } from "../../services/review_ui/screen/assets/login/landing.js";
import { csv } from "../../services/review_ui/screen/assets/pages/csv.js";
import { make, percent, seconds, shortText } from "../../services/review_ui/screen/assets/show.js";
import words from "../../services/review_ui/screen/assets/words/en.json" with { type: "json" };
import { fill, language } from "../../services/review_ui/screen/assets/words/words.js";
import { elements, open } from "./support/page.js";
import { task } from "./support/tasks.js";

beforeEach(() => void open());

test("only 1 is 100 %", () => {
  assert.deepEqual([0, 0.5, 0.994, 0.9999, 1].map(percent), ["0 %", "50 %", "99.4 %", "99.9 %", "100 %"]);
});

test("a length of time has one unit", () => {
  const said = [0.4, 89, 90, 5_399, 5_400, 129_599, 172_800].map((value) => seconds(value, "{n} days"));
  assert.deepEqual(said, ["0 s", "89 s", "2 min", "90 min", "2 h", "36 h", "2 days"]);
});

test("a text is cut to its length, never within a character", () => {
  assert.equal(shortText("four", 4), "four");
  assert.equal(shortText("fives", 4), "fiv…");
  assert.equal(shortText("ab😀cd", 4), "ab…");
});

test("what an item says is text, never markup", () => {
  assert.equal(make("p", "", "<img src=x>").children.length, 0);
  assert.equal(make("p", "", ["<img src=x>", make("b", "", "<i>")]).querySelector("img, i"), null);
});

test("the first known language of the browser counts, else English", () => {
  for (const [wanted, expected] of /** @type {[string[], string][]} */ ([
    [["de-AT", "en"], "de"],
    [["fi", "DE"], "de"],
    [["fi", "sv"], "en"],
    [[], "en"],
  ])) {
    Object.defineProperty(navigator, "languages", { value: wanted, configurable: true });
    assert.equal(language(), expected, wanted.join());
  }
});

test("places are filled once: a value that looks like a place stays as it is", () => {
  assert.equal(fill("{a} and {b}, {a}", { a: "{b}", b: "$&" }), "{b} and $&, {b}");
});

test("answers stand side by side without names, one letter a person", () => {
  const at = elements();
  const answer = (/** @type {string} */ reviewer, /** @type {string | null} */ label) => ({
    reviewer,
    label,
    reason: label === null ? "unclear" : null,
    note: null,
    round: /** @type {const} */ ("first"),
  });
  showAnswers(at, words.card, task("a", { answers: [answer("eve", "positive"), answer("bob", "negative"), answer("eve", null)] }));
  const texts = [...at("answers-list").children].map(({ textContent }) => textContent ?? "");
  const who = [...at("answers-list").querySelectorAll(".rv-who-said")].map((each) => each.textContent?.at(-1));
  assert.deepEqual(who, ["A", "B", "A"]);
  assert.match(texts[0] ?? "", /2positive/); // the key of that label
  assert.match(texts[2] ?? "", /unclear/);
  assert.doesNotMatch(texts.join(), /eve|bob/);
  assert.equal(at("answers-title").textContent, words.card.settle_flag);
  showAnswers(at, words.card, task("b"));
  assert.equal(at("answers").hidden, true);
});

test("reading on counts as work for a while, an empty chair and a hidden page do not", (context) => {
  let now = 0;
  context.mock.method(performance, "now", () => now);
  const attention = new Attention();
  now = 30_000;
  document.dispatchEvent(new Event("keydown"));
  now += 10 * 60_000;
  assert.deepEqual(attention.taken(), { work: 30 + 120, idle: 480 });
  attention.begin();
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
  now += 60_000;
  assert.deepEqual(attention.taken(), { work: 0, idle: 60 });
});

test("the median of an even number is the upper one, of none there is none", () => {
  assert.deepEqual([middle([3, 1, 2]), middle([10, 9]), middle([])], [2, 10, undefined]);
});

test("a login leads back to this site and to no other", () => {
  const from = (/** @type {string} */ next) =>
    landing({ origin: "http://review.test", search: `?next=${encodeURIComponent(next)}` });
  assert.equal(from("/history?period=ever"), "http://review.test/history?period=ever");
  for (const next of ["http://evil.test/", "//evil.test", "\\\\evil.test", "javascript:alert(1)", "http://"]) {
    const led = from(next);
    assert.ok(led === "/" || led.startsWith("http://review.test/"), `${next} led to ${led}`);
  }
  assert.equal(landing({ origin: "http://review.test", search: "" }), "http://review.test/");
});

test("a table as CSV: quoted where needed, links as addresses", () => {
  const link = '<a href="/?task=1">take up</a>';
  assert.equal(
    csv(["text", "link"], [['say "no", twice', link], ["a\nb", null]], 1),
    'text,link\r\n"say ""no"", twice",http://review.test/?task=1\r\n"a\nb",\r\n',
  );
});

test("a spreadsheet runs nothing of it", () => {
  for (const begin of ["=", "+", "-", "@", "\t", "'=", "\uff1d"]) {
    const [, line] = csv(["x"], [[`${begin}1+1`]], -1).split("\r\n");
    assert.equal(line?.replace(/^"/, "")[0], "'", JSON.stringify(begin));
  }
});
