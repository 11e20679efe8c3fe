import type { DisconnectReason } from "../core/disconnect.ts";
import type { Hub } from "../core/hub.ts";
import type { Runtime, Timer } from "../internal/clock.ts";
import { peerOf } from "./proc-net-address.ts";
import { StuckSocketScan } from "../internal/proc-net-tcp.ts";
import type { StuckSocket } from "../internal/proc-net-tcp.ts";
import type { Logger } from "./logger.ts";
import { readTable } from "./read-table.ts";
import type { ReadTable } from "./read-table.ts";

export interface UnackedWatchOptions {
  readonly hub: Hub;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** A peer that acknowledges nothing for so long is evicted, in milliseconds. @defaultValue 6,000 */
  readonly unackedMs?: number;
  /** @defaultValue reads the file */
  readonly readTable?: ReadTable;
}

/** What scans have seen of a peer. */
interface Suspect extends StuckSocket {
  /** It has answered nothing for so long. */
  readonly silentMs: number;
  /** It has kept its window closed for so long, and taken nothing; see `shutMsOf`. */
  readonly shutMs: number;
  readonly seenAt: number;
}

const TABLES = [
  { path: "/proc/net/tcp", family: 4 },
  { path: "/proc/net/tcp6", family: 6 },
] as const;
const SCAN_MS_MIN = 1_000;
const SCAN_MS_MAX = 3_000;
/** Scans take a twentieth of the time at most, as far as `SCAN_MS_MAX` allows it. */
const SCAN_SHARE = 20;
/** Between reading a row and looking at the clock less than this passes, but in a busy loop. */
const SAME_WAIT_MS = 250;
/** A window that has just closed is probed first after the retransmission timeout: on nearly all paths less. */
const FIRST_WAIT_MS_MAX = 2_000;
/** Subscribers that are looked at in one turn of the event loop. */
const VISITS_PER_TURN = 500;
/** The table is not there, or not ours to read. Anything else may pass: no descriptor was free, say. */
const NO_TABLE: ReadonlySet<unknown> = new Set(["ENOENT", "EACCES", "EPERM", "ENOTDIR"]);

/**
 * Evicts peers that have vanished while bytes were on their way to them. Nothing else tells of them:
 * writes go on succeeding, and the kernel retransmits for a quarter of an hour (measured). It looks
 * whether the kernel gets answers, in its table of sockets, and only while bytes are outstanding. A
 * reader that is slow but alive answers, also to probes of its closed window.
 *
 * What counts is what scans saw, not the time that has passed: however long the process was stopped,
 * at least two scans in a row must find the peer silent, and a gap between them counts for 3 s at most.
 *
 * A window that stays closed is probed ever more rarely, every 2 minutes at last: whoever vanishes then
 * is not missed for so long. So the stall deadline holds for bytes in the kernel as it does for those in
 * the process: who has taken none of them for so long is evicted, vanished or not.
 */
export class UnackedWatch {
  readonly #hub: Hub;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #unackedMs: number;
  readonly #readTable: ReadTable;
  #port = 0;
  #timer: Timer | undefined;
  #suspects = new Map<string, Suspect>();
  #scannedAt = 0;
  /** What had been written when the last scan began; undefined while bytes may be outstanding. */
  #settledAt: number | undefined;

  constructor(options: UnackedWatchOptions) {
    this.#hub = options.hub;
    this.#runtime = options.runtime;
    this.#logger = options.logger;
    this.#unackedMs = options.unackedMs ?? 6_000;
    this.#readTable = options.readTable ?? readTable;
  }

  /** Watches the sockets of this local port from now on. */
  start(port: number): void {
    this.#port = port;
    this.#scanLater(SCAN_MS_MIN);
  }

  /** No scan begins any more, and one that is under way evicts nobody. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#hub.metrics.plain.sluice_unacked_suspects = 0;
  }

  #scanLater(delayMs: number): void {
    this.#timer = this.#runtime.after(delayMs, () => {
      this.#scanIfNeeded().catch((error: unknown) => {
        this.#logger.error({ err: error }, "the watch for silent clients has failed");
      });
    });
  }

  async #scanIfNeeded(): Promise<void> {
    const written = this.#written();
    if (written === this.#settledAt) return this.#scanLater(SCAN_MS_MIN);
    const startedAt = this.#runtime.now();
    const found = new Map<string, Suspect>();
    const sinceMs = Math.min(startedAt - this.#scannedAt, SCAN_MS_MAX);
    const outstanding = await this.#scan((socket) => this.#suspect(found, socket, sinceMs));
    if (this.#timer === undefined) return;
    if (outstanding === "no table") return this.#giveUp();
    if (outstanding !== "failed") {
      this.#scannedAt = startedAt;
      this.#settledAt = outstanding === 0 ? written : undefined;
      this.#suspects = found;
      this.#hub.metrics.plain.sluice_unacked_scans_total += 1;
      await this.#evictStuck();
    }
    if (this.#timer === undefined) return;
    this.#tellSuspects();
    const tookMs = this.#runtime.now() - startedAt;
    this.#scanLater(Math.min(SCAN_MS_MAX, Math.max(SCAN_MS_MIN, tookMs * SCAN_SHARE)));
  }

  /** Counts every write to a stream but the last ones of a drain, which has its own deadlines. */
  #written(): number {
    const { plain } = this.#hub.metrics;
    return plain.sluice_writes_total + plain.sluice_heartbeats_total + plain.sluice_bookmarks_total;
  }

  /** Tells how many sockets of ours have outstanding bytes. */
  async #scan(onStuck: (socket: StuckSocket) => void): Promise<number | "failed" | "no table"> {
    let outstanding = 0;
    let tables = 0;
    for (const { path, family } of TABLES) {
      const scan = new StuckSocketScan(this.#port, family, onStuck);
      try {
        await this.#readTable(path, (bytes) => scan.push(bytes));
        tables += 1;
      } catch (error) {
        if (NO_TABLE.has((error as NodeJS.ErrnoException).code)) continue;
        this.#logger.debug(
          { err: error, path },
          "the kernel's table of sockets cannot be read now",
        );
        return "failed";
      }
      outstanding += scan.outstanding;
    }
    return tables === 0 ? "no table" : outstanding;
  }

  #suspect(found: Map<string, Suspect>, socket: StuckSocket, sinceMs: number): void {
    const before = this.#suspects.get(socket.remote);
    const seenAt = this.#runtime.now();
    const isSilent = before !== undefined && isSilentSince(before, socket, seenAt);
    found.set(socket.remote, {
      ...socket,
      seenAt,
      silentMs: isSilent ? before.silentMs + sinceMs : 0,
      shutMs: shutMsOf(before, socket, seenAt),
    });
  }

  async #evictStuck(): Promise<void> {
    const stuck = new Map<string, { readonly remote: string; readonly reason: DisconnectReason }>();
    for (const [remote, suspect] of this.#suspects) {
      const isSilent = suspect.silentMs >= this.#unackedMs;
      if (!isSilent && suspect.shutMs < this.#hub.stallMs) continue;
      stuck.set(peerOf(remote), { remote, reason: isSilent ? "unacked" : "slow_consumer" });
      // If it carries no stream it is not looked for again at once.
      this.#suspects.set(remote, { ...suspect, silentMs: 0, shutMs: 0 });
    }
    if (stuck.size === 0) return;
    let visits = 0;
    for (const subscriber of this.#hub.connections()) {
      const peer = subscriber.connection?.peer.replace(ZONE, "") ?? "";
      const found = stuck.get(peer);
      if (found !== undefined) {
        subscriber.evict(found.reason);
        this.#suspects.delete(found.remote);
        stuck.delete(peer);
        if (stuck.size === 0) return;
      }
      visits += 1;
      if (visits % VISITS_PER_TURN > 0) continue;
      await new Promise<void>((resolve) => this.#runtime.defer(resolve));
      if (this.#timer === undefined) return;
    }
  }

  /** Whoever has only closed its window does answer. */
  #tellSuspects(): void {
    let suspects = 0;
    for (const { unanswered } of this.#suspects.values()) if (unanswered > 0) suspects += 1;
    this.#hub.metrics.plain.sluice_unacked_suspects = suspects;
  }

  #giveUp(): void {
    this.stop();
    const tables = TABLES.map(({ path }) => path);
    this.#logger.debug(
      { tables },
      "clients that acknowledge nothing are not watched: no such table",
    );
  }
}

/**
 * Any acknowledgement sets the kernel's count to zero, so whoever has fewer has answered meanwhile. Who
 * has one of one may have answered that and owe the next: but with an answer the kernel also starts to
 * wait for its next probe anew. If it is still the same wait, nothing came.
 */
function isSilentSince(before: Suspect, socket: StuckSocket, now: number): boolean {
  if (socket.unanswered === 0 || before.unanswered === 0) return false;
  if (socket.unanswered !== before.unanswered) return socket.unanswered > before.unanswered;
  return socket.unanswered > 1 || socket.probeDueMs === 0 || isSameWait(before, socket, now);
}

/**
 * For how long a window has been closed, at least. The kernel counts that for us, also while this process
 * stands still: each wait for a probe is twice the one before, up to 2 minutes (`tcp_rto_max_ms`), and
 * whatever the peer takes makes it begin anew with the first (`tcp_probe0_when`, `tcp_ack_probe`). So all
 * waits before this one were as long as it, but for the first; and while it lasts nothing was taken.
 * Where that reaches back to the scan before, what was known then goes on: waits that grow no more tell
 * no more. That tx_queue becomes no shorter would not tell: what is written meanwhile makes up for it.
 */
function shutMsOf(before: Suspect | undefined, socket: StuckSocket, now: number): number {
  if (socket.probeDueMs === 0) return 0;
  const shutMs = Math.max(0, socket.probeDueMs - FIRST_WAIT_MS_MAX);
  if (before === undefined) return shutMs;
  const passedMs = now - before.seenAt;
  const isStillShut = shutMs >= passedMs || isSameWait(before, socket, now);
  return isStillShut ? Math.max(shutMs, before.shutMs + passedMs) : shutMs;
}

/** The kernel waits for the same probe of a closed window as then. */
function isSameWait(before: Suspect, socket: StuckSocket, now: number): boolean {
  if (before.probeDueMs === 0 || socket.probeDueMs === 0) return false;
  return Math.abs(before.probeDueMs - socket.probeDueMs - (now - before.seenAt)) < SAME_WAIT_MS;
}

/** Of a link-local address, as `socket.remoteAddress` has it; the kernel's table has none. */
const ZONE = /%[^\]]*/;
