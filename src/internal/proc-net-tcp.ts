/**
 * Reads Linux's tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6`, as bytes: with 15,000
 * connections they are megabytes a second, too much to make strings of. A row (`get_tcp4_sock` in the
 * kernel's net/ipv4/tcp_ipv4.c) is a number, and behind its colon columns of fixed width, in
 * hexadecimal, up to the user:
 *
 *     sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 *      7: 0100000A:1F90 0200000A:D431 01 00000015:00000000 01:00000055 00000003     0        0 1662
 */
export interface StuckSocket {
  /** The other end, as in the table: address and port in hexadecimal. See `peerOf`. */
  readonly remote: string;
  /** Retransmissions, or probes of a closed window, since the peer last acknowledged anything; may be 0. */
  readonly unanswered: number;
  /** In how many milliseconds the closed window is probed again; 0 for retransmissions. */
  readonly probeDueMs: number;
}

/** A row is 150 bytes in one table and about 170 in the other; longer ones are none. */
const ROW_BYTES_MAX = 512;
const LF = 0x0a;
const COLON = 0x3a;
const SPACE = 0x20;
const ZERO = 0x30;
/** Rows of IPv4 are padded to this (TMPSZ in the kernel). */
const ROW_BYTES_IPV4 = 150;

/** `st`: established, and half-closed by the peer. What we have closed ourselves is not waited for. */
const ESTABLISHED = 0x3031;
const CLOSE_WAIT = 0x3038;
/** `tr`: the timer that runs is that of retransmission. Loss probes have it as well, with no count. */
const RETRANSMISSION = 0x3031;
/** `tr`: the peer's window is closed; it is probed. */
const ZERO_WINDOW_PROBE = 0x3034;
/** Ticks of what the kernel shows: USER_HZ, 100 a second on every machine that Node runs on. */
const TICK_MS = 10;

/** One pass over one table, in pieces cut anywhere. */
export class StuckSocketScan {
  readonly #onStuck: (socket: StuckSocket) => void;
  readonly #port: Uint8Array;
  /** Digits of an address: 8, or 32 for IPv6. */
  readonly #digits: number;
  /** The beginning of a row whose end is in the next piece. */
  readonly #torn = Buffer.alloc(ROW_BYTES_MAX);
  #tornBytes = 0;
  /** Rows seen, of whatever port. */
  rows = 0;
  /** Sockets of the port with bytes that the peer has not acknowledged. */
  outstanding = 0;

  /**
   * `onStuck` is told each socket of the local `port` with outstanding bytes whose peer has closed its
   * window, or has not answered yet what it was sent again. Any slow reader is such a one now and then,
   * and a probe is under way to it: one sight of it says nothing.
   */
  constructor(port: number, family: 4 | 6, onStuck: (socket: StuckSocket) => void) {
    this.#onStuck = onStuck;
    this.#port = Buffer.from(port.toString(16).toUpperCase().padStart(4, "0"), "latin1");
    this.#digits = family === 4 ? 8 : 32;
  }

  /** The next bytes of the table. They are not kept. */
  push(bytes: Buffer): void {
    let at = 0;
    if (this.#tornBytes > 0) {
      at = bytes.indexOf(LF) + 1;
      if (at === 0) return this.#keep(bytes);
      this.#keep(bytes.subarray(0, at));
      this.#row(this.#torn, 0, this.#tornBytes);
      this.#tornBytes = 0;
    }
    while (at < bytes.length) {
      const usual = at + ROW_BYTES_IPV4;
      const end = this.#digits === 8 && bytes[usual - 1] === LF ? usual : bytes.indexOf(LF, at) + 1;
      if (end === 0) return this.#keep(bytes.subarray(at));
      this.#row(bytes, at, end);
      at = end;
    }
  }

  #keep(bytes: Uint8Array): void {
    const room = ROW_BYTES_MAX - this.#tornBytes;
    this.#torn.set(bytes.length > room ? bytes.subarray(0, room) : bytes, this.#tornBytes);
    this.#tornBytes += Math.min(bytes.length, room);
  }

  /** Hot: once a row. Most end at the first or second test. */
  #row(bytes: Buffer, start: number, end: number): void {
    // The number has four digits or more, so the colon is not at a fixed place.
    let colon = start;
    while (colon < end && bytes[colon] !== COLON) colon += 1;
    const local = colon + 2;
    const remote = local + this.#digits + 6;
    const state = remote + this.#digits + 6;
    // Too short for a row: the line of titles has no colon at all.
    if (state + 45 > end) return;
    this.rows += 1;
    const port = remote - 5;
    for (let digit = 0; digit < 4; digit += 1) {
      if (bytes[port + digit] !== this.#port[digit]) return;
    }
    const st = bytes.readUInt16BE(state);
    if (st !== ESTABLISHED && st !== CLOSE_WAIT) return;
    if (numberAt(bytes, state + 3, 8) === 0) return;
    this.outstanding += 1;
    const unanswered = unansweredOf(bytes, state + 21, end);
    const isProbed = bytes.readUInt16BE(state + 21) === ZERO_WINDOW_PROBE;
    if (unanswered === 0 && !isProbed) return;
    this.#onStuck({
      remote: bytes.toString("latin1", remote, state - 1),
      unanswered,
      probeDueMs: isProbed ? numberAt(bytes, state + 24, 8) * TICK_MS : 0,
    });
  }
}

/** From `tr` on: `01:00000055 00000003     0        0`. */
function unansweredOf(bytes: Buffer, tr: number, end: number): number {
  const timer = bytes.readUInt16BE(tr);
  if (timer === RETRANSMISSION) return numberAt(bytes, tr + 12, 8);
  if (timer !== ZERO_WINDOW_PROBE) return 0;
  // The user has five digits or more; behind it, in decimal, are the probes without an answer.
  let at = tr + 20;
  while (at < end && bytes[at] === SPACE) at += 1;
  while (at < end && bytes[at] !== SPACE) at += 1;
  while (at < end && bytes[at] === SPACE) at += 1;
  let probes = 0;
  for (let byte = bytes[at] ?? SPACE; byte >= ZERO && byte < COLON; byte = bytes[at] ?? SPACE) {
    probes = probes * 10 + byte - ZERO;
    at += 1;
  }
  return probes;
}

/** Upper-case hexadecimal. */
function numberAt(bytes: Buffer, at: number, digits: number): number {
  let value = 0;
  for (let index = at; index < at + digits; index += 1) {
    const byte = bytes[index] as number;
    value = value * 16 + (byte < COLON ? byte - ZERO : byte - 0x37);
  }
  return value;
}
