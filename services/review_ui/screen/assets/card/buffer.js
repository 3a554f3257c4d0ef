// The tasks that this page holds: a few leased ahead, so that the next item is there at once; extended
// while somebody works, given back when the page goes away.
import { call, passing } from "../http.js";

const AHEAD = 8;
const REFILL_BELOW = 4;
const HELD = "hitl-held";
const IDLE_MS = 15 * 60_000; // after this long without a key the leases may run out
const LOOK_AGAIN_MS = 3_000;
// Who waits for work sees it soon: looking again at once, then less and less often until a key is
// pressed. A claim of an empty queue costs the server a look at the head of an index.
const FIRST_LOOK_MS = 500;
const LOOK_LESS = 1.2;
const REFUSED_MS = 30_000;

export class Buffer {
  /** @type {Ui.Task[]} */
  tasks = [];
  loading = true;
  claiming = false;
  activeAt = Date.now();
  /** @type {Ui.Timer | undefined} */
  again = undefined;
  pause = FIRST_LOOK_MS;
  starts = 0;

  /**
   * @param {number} leaseSeconds
   * @param {Api.Filter} filter
   * @param {object} on
   * @param {() => void} on.changed the first task may be another one, or more or fewer are held
   * @param {(error: unknown) => void} on.trouble null: it is over
   * @param {() => boolean} on.blocked whether to wait with claiming
   * @param {(error: unknown) => void} on.refused it makes no sense to the server
   * @param {() => boolean} on.writing whether somebody is just writing about the first task
   */
  constructor(leaseSeconds, filter, on) {
    this.on = on;
    this.filter = filter;
    this.leaseMs = leaseSeconds * 1_000;
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
    this.pause = FIRST_LOOK_MS;
    if (idle > IDLE_MS) this.extend();
  }

  /** Takes the first task off; the next one is current at once. */
  next() {
    const task = this.tasks.shift();
    this.loading ||= this.tasks.length === 0; // only the server knows whether there is more
    this.refill();
    return task;
  }

  /**
   * Puts a task (back), just leased, in front of all others.
   * @param {Ui.Task} task
   */
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
    const pause = await this.#claim();
    this.claiming = false;
    if (this.tasks.length < REFILL_BELOW) {
      this.again = setTimeout(() => this.refill(), pause);
    }
  }

  /** Claims what is missing; the milliseconds until it is worth looking again. */
  async #claim() {
    this.pause = Math.min(this.pause * LOOK_LESS, LOOK_AGAIN_MS);
    const { pause, starts } = this;
    const askedAt = performance.now();
    try {
      const wanted = { count: AHEAD - this.tasks.length, ...this.filter };
      const { tasks } = await call("POST", "/tasks/claim", wanted, { outlives: false });
      this.on.trouble(null);
      if (starts !== this.starts) {
        this.#giveBack(tasks); // found with a filter that is no longer chosen
        return 0;
      }
      if (tasks.length > 0) this.pause = FIRST_LOOK_MS;
      this.#take(tasks, askedAt + this.leaseMs);
      return pause;
    } catch (error) {
      if (passing(error)) this.on.trouble(error);
      if (passing(error) || starts !== this.starts) return pause;
      this.loading = false;
      this.on.changed();
      this.on.refused(error);
      return REFUSED_MS;
    }
  }

  /**
   * @param {Ui.Task[]} tasks
   * @param {number} heldUntil by this clock: the server's may go differently
   */
  #take(tasks, heldUntil) {
    const { current, loading } = this;
    const known = this.tasks.length;
    for (const each of tasks) {
      const task = { ...each, heldUntil };
      const at = this.tasks.findIndex(({ id }) => id === task.id);
      if (at < 0) this.tasks.push(task);
      else if (current && at === 0 && this.on.writing()) Object.assign(current, task);
      else this.tasks[at] = task; // our lease had run out and is ours again
    }
    this.loading = false;
    if (this.current !== current || this.tasks.length !== known || loading) this.on.changed();
  }

  async extend() {
    if (this.tasks.length === 0 || Date.now() - this.activeAt > IDLE_MS) return;
    const asked = new Set(this.tasks); // others may be claimed meanwhile
    const askedAt = performance.now();
    try {
      const { held } = await call("POST", "/tasks/heartbeat", { leases: this.#leases() });
      const was = this.current;
      const known = this.tasks.length;
      for (const task of asked) task.heldUntil = task.id in held ? askedAt + this.leaseMs : 0;
      // Another card under the hands of who is writing would get the rest as its keys.
      const stays = this.on.writing() ? was : undefined;
      this.tasks = this.tasks.filter((task) => task === stays || (task.heldUntil ?? 0) > 0);
      this.on.trouble(null);
      if (this.current !== was || this.tasks.length !== known) this.on.changed();
    } catch (error) {
      this.on.trouble(error);
    }
  }

  release() {
    this.#giveBack(this.tasks);
    try {
      sessionStorage.setItem(HELD, JSON.stringify(this.#leases()));
    } catch {
      // Storage full or forbidden: what does not arrive is held until its lease ends.
    }
    this.tasks = [];
  }

  /** Gives back what the last page in this tab held when its session or its network had ended. */
  async recover() {
    try {
      const leases = JSON.parse(sessionStorage.getItem(HELD) ?? "[]");
      sessionStorage.removeItem(HELD);
      if (leases.length > 0) await call("POST", "/tasks/release", { leases });
    } catch {
      // Held until the leases end.
    }
  }

  /** Gives everything back and starts with another filter. */
  async restart(filter = this.filter) {
    const leases = this.#leases();
    this.tasks = [];
    this.filter = filter;
    this.starts += 1;
    this.pause = FIRST_LOOK_MS;
    this.loading = true;
    this.on.changed();
    // First back, then again: what is still mine would not be among what I get.
    if (leases.length > 0) await call("POST", "/tasks/release", { leases }).catch(() => null);
    this.refill();
  }

  /** @param {Ui.Task[]} tasks */
  #giveBack(tasks) {
    if (tasks.length === 0) return;
    const body = new Blob([JSON.stringify({ leases: this.#leases(tasks) })], { type: "application/json" });
    navigator.sendBeacon("/api/v1/tasks/release", body);
  }

  #leases(tasks = this.tasks) {
    return tasks.map((task) => ({ task_id: task.id, lease_token: task.lease_token }));
  }
}
