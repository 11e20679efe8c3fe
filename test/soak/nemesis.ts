import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Dice } from "../../src/testing/random.ts";

export interface NemesisOptions {
  readonly targetPort: number;
  readonly dice: Dice;
  /** After how many bytes towards the client the next connection is cut; `Infinity` for never. */
  budget(dice: Dice): number;
}

/**
 * Stands between clients and a server and cuts their connections: behind any byte of the answer, in
 * the middle of a head, a chunk or a frame, politely, by a reset, or only on one side.
 */
export class Nemesis {
  cuts = 0;
  readonly #options: NemesisOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCalm = false;

  private constructor(options: NemesisOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true }, (client) => this.#relay(client));
  }

  static async start(options: NemesisOptions): Promise<Nemesis> {
    const nemesis = new Nemesis(options);
    await new Promise<void>((resolve) => nemesis.#server.listen(0, "127.0.0.1", resolve));
    return nemesis;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts nothing any more. */
  calm(): void {
    this.#isCalm = true;
  }

  /** Cuts all that is open, now. */
  strike(): void {
    for (const socket of this.#sockets) {
      this.cuts += 1;
      socket.resetAndDestroy();
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(client: Socket): void {
    const { targetPort, dice } = this.#options;
    const server = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    let left = this.#options.budget(dice);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("drain", () => other.resume());
      socket.on("end", () => other.end());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes: Buffer) => {
      if (!server.write(bytes)) client.pause();
    });
    server.on("data", (bytes: Buffer) => {
      if (bytes.length < left || this.#isCalm) {
        left -= bytes.length;
        if (!client.write(bytes)) server.pause();
        return;
      }
      server.removeAllListeners("data");
      this.cuts += 1;
      // What was let through arrives, but where a reset overtakes it.
      client.write(bytes.subarray(0, left), () => cut(client, server, dice));
    });
  }
}

function cut(client: Socket, server: Socket, dice: Dice): void {
  const way = dice.pick(["destroy", "reset", "server", "end"] as const);
  if (way === "reset") client.resetAndDestroy();
  else if (way === "end") client.end();
  else if (way === "destroy") client.destroy();
  // The server learns it in its own time: a reset, or bytes that nobody takes.
  if (dice.chance(0.5)) server.resetAndDestroy();
  else server.destroy();
}
