// Tasks are there before they are wanted, and go back when nobody wants them.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Buffer } from "../../services/review_ui/screen/assets/card/buffer.js";
import { open, refusal, serve, settle } from "./support/page.js";
import { task } from "./support/tasks.js";

/** @type {{ changed: number, trouble: unknown[], refused: unknown[], blocked: boolean, writing: boolean }} */
let seen;
/** @type {{ lease_token: number }[][]} */
let beacons;

beforeEach(() => {
  const window = open();
  seen = { changed: 0, trouble: [], refused: [], blocked: false, writing: false };
  beacons = [];
  Object.defineProperty(window.navigator, "sendBeacon", {
    value: async (/** @type {string} */ _, /** @type {Blob} */ body) => beacons.push(JSON.parse(await body.text()).leases),
  });
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
});

afterEach(() => mock.timers.reset());

/** @param {Api.Filter} [filter] */
function buffer(filter = {}) {
  return new Buffer(300, filter, {
    changed: () => (seen.changed += 1),
    trouble: (error) => seen.trouble.push(error),
    refused: (error) => seen.refused.push(error),
    blocked: () => seen.blocked,
    writing: () => seen.writing,
  });
}

/** @param {Buffer} held */
const ids = (held) => held.tasks.map(({ id }) => id);

test("tasks are claimed ahead, with the filter, and more when few are left", async () => {
  let next = 0;
  const asked = serve((_, { count }) => ({ tasks: Array.from({ length: count }, () => task(`t${next++}`)) }));
  const held = buffer({ queue: "urgent" });
  await held.refill();
  const [first] = asked;
  assert.equal(first?.body.queue, "urgent");
  assert.equal(held.tasks.length, first?.body.count);
  // When most are taken off
  while (asked.length === 1) held.next();
  assert.ok(held.tasks.length > 0, "the next item was there at once");
  await settle();
  assert.equal(held.tasks.length, first?.body.count);
  assert.equal(new Set(ids(held)).size, held.tasks.length);
});

test("an empty queue is looked at again and again, but less often", async () => {
  const asked = serve(() => ({ tasks: [] }));
  const held = buffer();
  await held.refill();
  assert.equal(held.loading, false);
  for (let second = 0; second < 10; second += 0.1) {
    mock.timers.tick(100);
    await settle();
  }
  const soon = asked.length;
  mock.timers.tick(60_000);
  for (let second = 0; second < 10; second += 0.1) {
    mock.timers.tick(100);
    await settle();
  }
  assert.ok(soon > 4 && asked.length - soon < soon, `${soon}, then ${asked.length - soon}`);
});

test("what is unsent goes before more is claimed", async () => {
  const asked = serve(() => ({ tasks: [] }));
  seen.blocked = true;
  const held = buffer();
  await held.refill();
  assert.equal(asked.length, 0);
  seen.blocked = false;
  mock.timers.tick(3_000);
  await settle();
  assert.equal(asked.length, 1);
});

test("a server that is away is trouble; a filter that makes no sense is refused", async () => {
  serve(() => refusal(503, "database_away"));
  const held = buffer();
  await held.refill();
  assert.equal(seen.trouble.length, 1);
  assert.equal(held.loading, true);
  serve(() => refusal(422, "invalid_request"));
  await held.refill();
  assert.deepEqual([seen.refused.length, held.loading], [1, false]);
});

test("another filter gives back what was found with the old one, also what was on its way", async () => {
  /** @type {(value: unknown) => void} */
  let found = () => {};
  serve((path, body) => {
    if (path === "/tasks/release") return { released: 1 };
    return body.queue ? { tasks: [task("urgent")] } : new Promise((done) => (found = done));
  });
  const held = buffer();
  const asking = held.refill();
  await held.restart({ queue: "urgent" });
  found({ tasks: [task("old", { lease_token: 7 })] });
  await asking;
  assert.deepEqual(ids(held), []);
  mock.timers.tick(1);
  await settle();
  assert.deepEqual(ids(held), ["urgent"]);
  assert.deepEqual(beacons, [[{ task_id: "old", lease_token: 7 }]]);
});

test("a task that somebody writes about stays theirs to write on when it comes again", async () => {
  serve(() => ({ tasks: [task("a", { lease_token: 2 })] }));
  const held = buffer();
  const mine = task("a");
  held.putFirst(mine);
  seen.writing = true;
  await held.refill();
  assert.equal(held.current, mine);
  assert.equal(mine.lease_token, 2);
  seen.writing = false;
  await held.refill();
  assert.notEqual(held.current, mine);
});

test("extending drops what others have now, but not under the hands of who is writing", async () => {
  serve((path) => (path === "/tasks/heartbeat" ? { held: { b: "later" }, lost: ["a", "c"] } : { tasks: [] }));
  const held = buffer();
  for (const id of ["c", "b", "a"]) held.putFirst(task(id));
  seen.writing = true;
  await held.extend();
  assert.deepEqual(ids(held), ["a", "b"]);
  seen.writing = false;
  await held.extend();
  assert.deepEqual(ids(held), ["b"]);
});

test("nobody there for long: the leases may run out, until a key is pressed", async () => {
  const asked = serve(() => ({ held: { a: "later" }, lost: [] }));
  const held = buffer();
  held.putFirst(task("a"));
  mock.timers.tick(14 * 60_000);
  await settle();
  const before = asked.length;
  assert.ok(before > 0);
  mock.timers.tick(60 * 60_000);
  await settle();
  const idle = asked.length;
  mock.timers.tick(60 * 60_000);
  await settle();
  assert.equal(asked.length, idle);
  held.active();
  await settle();
  assert.equal(asked.length, idle + 1);
});

test("a page that goes away gives back what it holds, and the next one what did not arrive", async () => {
  const asked = serve(() => ({ released: 1 }));
  const held = buffer();
  held.putFirst(task("a", { lease_token: 5 }));
  held.release();
  await settle();
  const lease = { task_id: "a", lease_token: 5 };
  assert.deepEqual([beacons, held.tasks], [[[lease]], []]);
  await buffer().recover();
  assert.deepEqual(asked, [{ path: "/tasks/release", body: { leases: [lease] } }]);
  await buffer().recover();
  assert.equal(asked.length, 1);
});
