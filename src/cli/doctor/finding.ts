/** `unknown`: it could not be looked at, which is no finding. */
export type Status = "ok" | "finding" | "unknown";

/** What one check saw. */
export interface Finding {
  readonly area: "machine" | "path";
  /** A stable word for scripts, such as `tcp_notsent_lowat` or `buffering`. */
  readonly check: string;
  readonly status: Status;
  /** What was seen, in one line. */
  readonly what: string;
  /** What it costs. */
  readonly why?: string;
  /** Exactly what to set, a line each. */
  readonly fix?: readonly string[];
}

/** Tells what the checks of one area saw, as they see it. */
export class Findings {
  readonly #area: Finding["area"];
  readonly #onFinding: (finding: Finding) => void;

  constructor(area: Finding["area"], onFinding: (finding: Finding) => void) {
    this.#area = area;
    this.#onFinding = onFinding;
  }

  ok(check: string, what: string): void {
    this.#onFinding({ area: this.#area, check, status: "ok", what });
  }

  unknown(check: string, what: string): void {
    this.#onFinding({ area: this.#area, check, status: "unknown", what });
  }

  found(check: string, what: string, why: string, fix: readonly string[]): void {
    this.#onFinding({ area: this.#area, check, status: "finding", what, why, fix });
  }
}
