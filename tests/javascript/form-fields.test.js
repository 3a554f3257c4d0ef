// The fields that are made from a schema: what they read back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { field } from "../../services/review_ui/screen/assets/card/form-fields.js";
import { problems } from "../../services/review_ui/screen/assets/card/schema.js";
import { open } from "./support/page.js";

const PLACE = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const LIST = { type: "array", items: PLACE };
const SCHEMA = {
  type: "object",
  properties: { from: { ...PLACE, type: ["object", "null"] }, to: PLACE, stops: LIST, ways: LIST },
  required: ["from", "ways"],
};

/** @param {unknown} value */
function form(value) {
  open();
  const words = /** @type {Ui.Words} */ ({ field_required: "required", row_remove: "Remove" });
  return field(SCHEMA, value, "", "form", true, { root: SCHEMA, words, shares: {}, changed: () => undefined });
}

test("what nobody touched is read as it came, empty and null included", () => {
  for (const value of [
    { from: null, ways: [] },
    { from: { city: "Ulm" }, to: {}, stops: [], ways: [{ city: "Bonn" }] },
    { from: { city: "Ulm", more: 1 }, stops: null, ways: [] },
  ]) {
    assert.deepEqual(form(value).read(), value);
  }
});

test("of an empty group that must be there the fields are named, and an optional one is not there", () => {
  const read = form({}).read();
  assert.deepEqual(read, { from: {}, ways: [] });
  assert.deepEqual(problems(SCHEMA, read), [{ path: "from.city", why: "wrong_missing" }]);
});

test("a row that goes leaves the focus on the next one, and the last on the button that adds", () => {
  const made = form({ from: null, ways: [{ city: "Ulm" }, { city: "Bonn" }] });
  document.body.append(made.element);
  const removes = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".rv-row > button")]);
  removes()[0]?.click();
  assert.equal(document.activeElement, removes()[0]);
  assert.deepEqual(made.read(), { from: null, ways: [{ city: "Bonn" }] });
  removes()[0]?.click();
  assert.equal(document.activeElement?.textContent, "+ ways");
  assert.deepEqual(made.read(), { from: null, ways: [] });
});
