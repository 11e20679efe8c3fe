/** Whose the questions for an origin's health are: no tenant's, and no request can name it. */
export const HEALTH_TENANT = "\0health";
/** A tenant that has asked within so long is there, even if it holds nothing at the moment. */
const PRESENT_MS = 600_000;

/**
 * Who holds how much of an origin. One tenant alone may have all of it; while there are others it may
 * have its share: what it holds beyond that it keeps, but it gets no more.
 */
export class TenantShares {
  readonly #percentMax: number;
  readonly #held = new Map<string, number>();
  /** The two tenants that have asked last: enough to know for each whether there is another. */
  #last: { readonly tenant: string; at: number } | undefined;
  #other: { readonly tenant: string; readonly at: number } | undefined;

  constructor(percentMax: number) {
    this.#percentMax = percentMax;
  }

  get tenantsNow(): number {
    return this.#held.size;
  }

  heldBy(tenant: string): number {
    return this.#held.get(tenant) ?? 0;
  }

  /** It has asked. */
  saw(tenant: string, now: number): void {
    if (this.#last?.tenant === tenant) {
      this.#last.at = now;
      return;
    }
    this.#other = this.#last;
    this.#last = { tenant, at: now };
  }

  took(tenant: string): void {
    if (tenant === HEALTH_TENANT) return;
    this.#held.set(tenant, this.heldBy(tenant) + 1);
  }

  gaveBack(tenant: string): void {
    const held = this.heldBy(tenant) - 1;
    if (held > 0) this.#held.set(tenant, held);
    else this.#held.delete(tenant);
  }

  /** How much more it may have of `capacity`; below zero where it has more than its share. */
  roomFor(tenant: string, capacity: number, now: number): number {
    const share = this.#hasOthers(tenant, now)
      ? Math.max(1, Math.floor((capacity * this.#percentMax) / 100))
      : capacity;
    return share - this.heldBy(tenant);
  }

  #hasOthers(tenant: string, now: number): boolean {
    if (this.#held.size > (this.#held.has(tenant) ? 1 : 0)) return true;
    const seen = this.#last?.tenant === tenant ? this.#other : this.#last;
    return seen !== undefined && now - seen.at < PRESENT_MS;
  }
}
