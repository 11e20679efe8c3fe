const CRLF = Buffer.from("\r\n");
const HEAD_END = Buffer.from("\r\n\r\n");
const LF = 0x0a;

export interface ResponseReaderOptions {
  /** Bytes of the body, without the framing of HTTP/1.1; a view, valid during the call. */
  onBody(bytes: Buffer): void;
}

/**
 * Reads responses off one HTTP/1 connection, however its bytes were cut, and keeps account of the
 * framing: it shares no code with Node's parser or with the gateway. A chunk is judged by its last two
 * bytes: those of whole frames are line ends.
 */
export class ResponseReader {
  status = 0;
  statusLine = "";
  headers: ReadonlyMap<string, string> = new Map();
  /** Complete chunks, without the last. */
  chunks = 0;
  /** Of these, chunks that do not end in a blank line. */
  tornChunks = 0;
  /** The last chunk, or as many bytes as announced: the response is complete. */
  isFinished = false;
  /** Bytes behind the response. */
  rest = Buffer.alloc(0);

  readonly #options: ResponseReaderOptions;
  #held = Buffer.alloc(0);
  #hasHead = false;
  #isChunked = false;
  /** Still to come of the current chunk or of a body of known length. */
  #left = 0;
  #isInChunk = false;
  #lastByte = 0;
  #byteBefore = 0;

  constructor(options: ResponseReaderOptions) {
    this.#options = options;
  }

  get hasHead(): boolean {
    return this.#hasHead;
  }

  get isChunked(): boolean {
    return this.#isChunked;
  }

  /** Throws if the bytes are no HTTP response. */
  push(bytes: Buffer): void {
    let input = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = Buffer.alloc(0);
    if (!this.#hasHead) {
      const end = input.indexOf(HEAD_END);
      if (end === -1) {
        this.#held = Buffer.from(input);
        return;
      }
      this.#readHead(input.subarray(0, end).toString("latin1"));
      input = input.subarray(end + HEAD_END.length);
    }
    while (input.length > 0) {
      if (this.isFinished) {
        this.rest = Buffer.concat([this.rest, input]);
        return;
      }
      const used = this.#readBody(input);
      if (used === 0) {
        this.#held = Buffer.from(input);
        return;
      }
      input = input.subarray(used);
    }
  }

  #readHead(head: string): void {
    const [statusLine = "", ...lines] = head.split("\r\n");
    const match = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine);
    if (match === null) throw new Error(`no status line: ${JSON.stringify(head.slice(0, 200))}`);
    this.status = Number(match[1]);
    this.statusLine = statusLine;
    this.headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    this.#hasHead = true;
    this.#isChunked = this.headers.get("transfer-encoding") === "chunked";
    const length = this.headers.get("content-length");
    const hasBody = this.status >= 200 && this.status !== 204 && this.status !== 304;
    if (!hasBody || length === "0") this.isFinished = true;
    // Neither length nor chunks: the body ends with the connection.
    else this.#left = this.#isChunked ? 0 : Number(length ?? Infinity);
  }

  /** Returns how many bytes it used; 0 when it needs more. */
  #readBody(input: Buffer): number {
    if (this.#left > 0) return this.#readPayload(input);
    if (this.#isInChunk) {
      if (input.length < 2) return 0;
      if (!input.subarray(0, 2).equals(CRLF)) throw new Error("a chunk has no end");
      this.#isInChunk = false;
      this.chunks += 1;
      if (this.#lastByte !== LF || this.#byteBefore !== LF) this.tornChunks += 1;
      return 2;
    }
    const end = input.indexOf(CRLF);
    if (end === -1) return 0;
    const size = input.subarray(0, end).toString("latin1");
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) throw new Error(`no chunk size: ${JSON.stringify(size)}`);
    if (Number.parseInt(size, 16) > 0) {
      this.#left = Number.parseInt(size, 16);
      this.#isInChunk = true;
      return end + 2;
    }
    if (input.length < end + 4) return 0;
    this.isFinished = true;
    return end + 4;
  }

  #readPayload(input: Buffer): number {
    const payload = input.length > this.#left ? input.subarray(0, this.#left) : input;
    this.#left -= payload.length;
    this.#byteBefore = payload.length > 1 ? (payload.at(-2) as number) : this.#lastByte;
    this.#lastByte = payload.at(-1) as number;
    this.#options.onBody(payload);
    if (this.#left === 0 && !this.#isChunked) this.isFinished = true;
    return payload.length;
  }
}
