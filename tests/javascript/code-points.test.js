// Do places in a text mean the same to the API, which counts code points, and to the browser?
import assert from "node:assert/strict";
import { test } from "node:test";
import { CodePoints } from "../../services/review_ui/screen/assets/card/code-points.js";

const TEXTS = ["", "plain", "👍", "a👍b", "👍👍 twice", "e\u0301 and 𝒳", "👩‍👩‍👧 family", "half \ud83d gone", "\udc4d\ud83d"];

test("every place comes back", () => {
  for (const text of TEXTS) {
    const places = new CodePoints(text);
    const points = [...text];
    let unit = 0;
    for (let point = 0; point <= points.length; point += 1) {
      assert.deepEqual([places.unit(point), places.before(unit)], [unit, point], `${text} at ${point}`);
      unit += points[point]?.length ?? 0;
    }
  }
});

test("a place within a character is the place before it", () => {
  const places = new CodePoints("a👍b👍");
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6].map((unit) => places.before(unit)), [0, 1, 1, 2, 3, 3, 4]);
});
