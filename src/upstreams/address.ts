import { lookup as systemLookup } from "node:dns/promises";
import { isIP } from "node:net";
import { SluiceError } from "../core/errors.ts";
import type { Runtime } from "../internal/clock.ts";
import { isPublicAddress } from "./address-ranges.ts";
import type { Origin } from "./origin.ts";

/** Where a name leads to, in the order in which the system would try. */
export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Asks for all addresses of a name. Rejects as `dns.promises.lookup` does: `code` says why. */
export type Lookup = (hostname: string) => Promise<readonly Address[]>;

export interface AddressBookOptions {
  /**
   * An answer is used for so long without asking again: getaddrinfo tells no TTL, and a burst of
   * connections needs one answer. Milliseconds. @defaultValue 1_000
   */
  readonly freshMs?: number;
  /**
   * After so long without an answer the last good one is used, if there is one. Milliseconds.
   * @defaultValue 1_000
   */
  readonly slowMs?: number;
  /** The last good answer is used while DNS fails or is slow, until so long after it. Milliseconds. @defaultValue 300_000 */
  readonly maxStaleMs?: number;
  /** @defaultValue getaddrinfo, so that /etc/hosts and search domains count */
  readonly lookup?: Lookup;
}

/** Names whose answers are kept; beyond it the one that was asked for longest ago is forgotten. */
const NAMES_MAX = 1_000;
/** Lookups under way, which a DNS that drops everything holds up for 5-30 s each. */
const LOOKUPS_MAX = 256;
/** More addresses than anybody would try in a connect deadline. */
const ADDRESSES_MAX = 16;

interface Known {
  addresses: readonly Address[];
  /** When they were answered; -Infinity if never. */
  at: number;
  asking: Promise<readonly Address[]> | undefined;
  /** When the lookup under way began. */
  askedAt: number;
}

/**
 * Resolves the hosts of origins, remembers the last good answers, and refuses private addresses to
 * origins that a request has named. What it answers are addresses: whoever connects to one of them
 * never resolves the name again, so that no second answer can lead elsewhere (DNS rebinding).
 */
export class AddressBook {
  readonly #runtime: Runtime;
  readonly #freshMs: number;
  readonly #slowMs: number;
  readonly #maxStaleMs: number;
  readonly #lookup: Lookup;
  /** In the order of their last use. */
  readonly #names = new Map<string, Known>();
  #lookupsNow = 0;

  constructor(runtime: Runtime, options: AddressBookOptions = {}) {
    this.#runtime = runtime;
    this.#freshMs = options.freshMs ?? 1_000;
    this.#slowMs = options.slowMs ?? 1_000;
    this.#maxStaleMs = options.maxStaleMs ?? 300_000;
    this.#lookup = options.lookup ?? getAddresses;
  }

  /**
   * The addresses of an origin, at least one, both families taking turns (RFC 8305, 4). Rejects with
   * `upstream_unreachable` (no such name, DNS failed), `upstream_timeout` (no answer within `msMax`)
   * or `upstream_forbidden` (a request has named a host one of whose addresses is not public).
   */
  async addressesOf(origin: Origin, msMax: number): Promise<readonly Address[]> {
    const { hostname } = origin;
    const literal = isIP(hostname);
    const addresses =
      literal === 0
        ? await this.#resolve(hostname, msMax)
        : [{ address: hostname, family: literal as 4 | 6 }];
    if (!origin.isNamed) refusePrivate(hostname, addresses);
    return addresses;
  }

  async #resolve(hostname: string, msMax: number): Promise<readonly Address[]> {
    const known = this.#known(hostname);
    const ageMs = this.#runtime.now() - known.at;
    if (ageMs < this.#freshMs) return known.addresses;
    const isUsable = ageMs <= this.#maxStaleMs;
    try {
      const asking = this.#ask(hostname, known);
      // Whoever comes while DNS is slow already does not wait for it all over again.
      const slowMs = Math.max(0, known.askedAt + this.#slowMs - this.#runtime.now());
      const waitMs = isUsable ? Math.min(slowMs, msMax) : msMax;
      return await this.#within(waitMs, hostname, asking);
    } catch (error) {
      // A name that does not exist any more leads nowhere (RFC 8767, 4); its address may be another's.
      const isGone = (error as NodeJS.ErrnoException).code === "ENOTFOUND";
      if (isUsable && !isGone) return known.addresses;
      if (error instanceof SluiceError) throw error;
      const why = isGone ? "there is no such name" : "DNS failed";
      throw new SluiceError("upstream_unreachable", `${hostname} cannot be resolved: ${why}`, {
        cause: error,
      });
    }
  }

  #known(hostname: string): Known {
    const known = this.#names.get(hostname) ?? unknown();
    this.#names.delete(hostname);
    this.#names.set(hostname, known);
    if (this.#names.size > NAMES_MAX) {
      const [oldest] = this.#names.keys();
      if (oldest !== undefined) this.#names.delete(oldest);
    }
    return known;
  }

  /** One lookup of a name at a time; an answer that comes late still counts, for whoever asks next. */
  #ask(hostname: string, known: Known): Promise<readonly Address[]> {
    if (known.asking !== undefined) return known.asking;
    if (this.#lookupsNow >= LOOKUPS_MAX) {
      const text = `${hostname} is not looked up: ${LOOKUPS_MAX} lookups are under way`;
      return Promise.reject(new SluiceError("upstream_unreachable", text));
    }
    this.#lookupsNow += 1;
    known.askedAt = this.#runtime.now();
    known.asking = this.#answerTo(hostname).finally(() => {
      this.#lookupsNow -= 1;
      known.asking = undefined;
    });
    void known.asking.then(
      (addresses) => {
        known.addresses = addresses;
        known.at = this.#runtime.now();
      },
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOTFOUND") known.at = -Infinity;
      },
    );
    return known.asking;
  }

  async #answerTo(hostname: string): Promise<readonly Address[]> {
    const answer = await this.#lookup(hostname);
    const addresses = alternating(answer.filter(({ address }) => isIP(address) !== 0));
    if (addresses.length > 0) return addresses.slice(0, ADDRESSES_MAX);
    throw Object.assign(new Error(`No address of ${hostname}`), { code: "ENOTFOUND" });
  }

  #within<T>(waitMs: number, hostname: string, asking: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const text = `${hostname} was not resolved within ${Math.round(waitMs)} ms`;
      const timer = this.#runtime.after(waitMs, () => {
        reject(new SluiceError("upstream_timeout", text));
      });
      void asking.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

function unknown(): Known {
  return { addresses: [], at: -Infinity, asking: undefined, askedAt: -Infinity };
}

async function getAddresses(hostname: string): Promise<readonly Address[]> {
  const answer = await systemLookup(hostname, { all: true, order: "verbatim" });
  return answer.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
}

/** One address that is not public is enough: nobody mixes them but who tries to get in. */
function refusePrivate(hostname: string, addresses: readonly Address[]): void {
  const found = addresses.find(({ address }) => !isPublicAddress(address));
  if (found === undefined) return;
  // The address stays out of it: the message may reach whoever has sent the request.
  throw new SluiceError(
    "upstream_forbidden",
    `${hostname} leads to an address that is not public; only origins of the configuration may`,
  );
}

/** The system's order, but the other family's first address comes second, and so on. */
function alternating(addresses: readonly Address[]): Address[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const second = addresses.filter(({ family }) => family !== addresses[0]?.family);
  const mixed: Address[] = [];
  for (let at = 0; at < Math.max(first.length, second.length); at += 1) {
    mixed.push(...first.slice(at, at + 1), ...second.slice(at, at + 1));
  }
  return mixed;
}
