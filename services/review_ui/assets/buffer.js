// Which tasks does this page hold? A few leased ahead, so that the next item is there at once;
// extended while somebody works, given back when the page goes away.
import { call } from "./http.js";

const AHEAD = 8;
const REFILL_BELOW = 4;
const IDLE_MS = 15 * 60_000; // after this long without a key the leases may run out
const LOOK_AGAIN_MS = 3_000;

export class Buffer {
  /** changed(): the first task may be another one; trouble(error or null);
   *  blocked(): whether to wait with claiming. */
  constructor(leaseSeconds, filter, { changed, trouble, blocked }) {
    this.on = { changed, trouble, blocked };
    this.tasks = [];
    this.filter = filter;
    this.leaseMs = leaseSeconds * 1_000;
    this.loading = true;
    this.claiming = false;
    this.activeAt = Date.now();
    this.again = null;
    setInterval(() => this.extend(), Math.min(leaseSeconds / 3, 60) * 1_000);
    addEventListener("pagehide", () => this.release());
    addEventListener("pageshow", (event) => event.persisted && this.restart());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.extend().then(() => this.refill());
    });
  }

  get current() {
    return this.tasks[0];
  }

  active() {
    const idle = Date.now() - this.activeAt;
    this.activeAt = Date.now();
    if (idle > IDLE_MS) this.extend();
  }

  /** Takes the first task off; the next one is current at once. */
  next() {
    const task = this.tasks.shift();
    this.refill();
    return task;
  }

  /** Puts a task (back), just leased, in front of all others. */
  putFirst(task) {
    task.heldUntil = performance.now() + this.leaseMs;
    this.tasks = [task, ...this.tasks.filter((each) => each.id !== task.id)];
    this.on.changed();
  }

  async refill() {
    clearTimeout(this.again);
    // What is unsent goes first: claiming again would give an undecided task a new token.
    if (this.claiming || this.tasks.length >= REFILL_BELOW || document.hidden) return;
    if (this.on.blocked()) {
      this.again = setTimeout(() => this.refill(), LOOK_AGAIN_MS);
      return;
    }
    this.claiming = true;
    const asked = performance.now();
    try {
      const wanted = { count: AHEAD - this.tasks.length, ...this.filter };
      const { tasks } = await call("POST", "/tasks/claim", wanted);
      const was = this.current;
      for (const task of tasks) {
        // By this clock: the server's may go differently.
        task.heldUntil = asked + this.leaseMs;
        const at = this.tasks.findIndex((each) => each.id === task.id);
        if (at < 0) this.tasks.push(task);
        else this.tasks[at] = task; // our lease had run out and is ours again
      }
      this.on.trouble(null);
      const wasLoading = this.loading;
      this.loading = false;
      if (this.current !== was || wasLoading) this.on.changed();
    } catch (error) {
      this.on.trouble(error);
    }
    this.claiming = false;
    if (this.tasks.length < REFILL_BELOW) {
      this.again = setTimeout(() => this.refill(), LOOK_AGAIN_MS);
    }
  }

  async extend() {
    if (this.tasks.length === 0 || Date.now() - this.activeAt > IDLE_MS) return;
    const asked = new Set(this.tasks); // others may be claimed meanwhile
    const askedAt = performance.now();
    try {
      const { held } = await call("POST", "/tasks/heartbeat", { leases: this.#leases() });
      const was = this.current;
      this.tasks = this.tasks.filter((task) => !asked.has(task) || task.id in held);
      for (const task of this.tasks) {
        if (asked.has(task)) task.heldUntil = askedAt + this.leaseMs;
      }
      this.on.trouble(null);
      if (this.current !== was) this.on.changed();
    } catch (error) {
      this.on.trouble(error);
    }
  }

  release() {
    if (this.tasks.length === 0) return;
    const body = new Blob([JSON.stringify({ leases: this.#leases() })], { type: "application/json" });
    navigator.sendBeacon("/api/v1/tasks/release", body);
    this.tasks = [];
  }

  /** Gives everything back and starts with another filter. */
  restart(filter = this.filter) {
    this.release();
    this.filter = filter;
    this.loading = true;
    this.on.changed();
    this.refill();
  }

  #leases() {
    return this.tasks.map((task) => ({ task_id: task.id, lease_token: task.lease_token }));
  }
}
