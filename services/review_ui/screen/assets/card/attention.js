// For how long somebody worked on this item, and for how long it was shown to nobody. Every key,
// movement and scrolling is a sign of a person. After the last one they may read on for a while;
// what is beyond that, and the time in which the page was hidden, is idle.

const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel", "scroll", "touchmove", "input"];
const READS_ON_MS = 120_000; // without a sign: some four hundred words

export class Attention {
  work = 0; // milliseconds
  idle = 0;
  at = performance.now();
  away = document.hidden;

  constructor() {
    for (const sign of SIGNS) {
      document.addEventListener(sign, () => this.#sign(), { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => {
      this.#sign();
      this.away = document.hidden;
    });
  }

  /** Another item is shown. */
  begin() {
    this.work = 0;
    this.idle = 0;
    this.at = performance.now();
    this.away = document.hidden;
  }

  /** Seconds since then: `{ work, idle }`. */
  taken() {
    this.#sign();
    return { work: this.work / 1_000, idle: this.idle / 1_000 };
  }

  #sign() {
    const now = performance.now();
    const passed = now - this.at;
    const work = this.away ? 0 : Math.min(passed, READS_ON_MS);
    this.work += work;
    this.idle += passed - work;
    this.at = now;
  }
}
