import type { IncomingMessage, ServerResponse } from "node:http";
import type { BlockList, Server } from "node:net";
import { Admission } from "../core/admission.ts";
import type { Outcome } from "../core/admission.ts";
import type { Metrics } from "../core/metrics.ts";
import type { Runtime } from "../internal/clock.ts";
import { addressKey, forwardedAddress, isTrusted } from "./client-address.ts";
import { capacityOf, descriptorsMax, descriptorsNow, reserveOf } from "./descriptors.ts";
import { checkDoorOptions, readTrusted } from "./door-options.ts";
import type { DoorOptions } from "./door-options.ts";
import { stated } from "./hub-options.ts";
import type { Logger } from "./logger.ts";
import { LoadWatch, residentBytesMaxOf } from "./load-watch.ts";
import { OVERLOAD_DEFAULTS, refusalForm, refuse, refuseRaw } from "./overload.ts";
import type { Refusing } from "./overload.ts";
import { Sockets } from "./sockets.ts";

/**
 * Stands in front of the routes: counts sockets, watches the process, and asks the admission about
 * each subscription.
 */
export class Door {
  readonly #admission: Admission;
  readonly #sockets: Sockets;
  readonly #trusted: BlockList;
  readonly #refusing: Refusing;
  readonly #maxConnections: number;
  readonly #perIpMax: number;
  readonly #descriptors: number;

  constructor(
    given: Partial<DoorOptions>,
    retryMs: number,
    runtime: Runtime,
    metrics: Metrics,
    logger: Logger,
  ) {
    checkDoorOptions(given);
    const options = stated(given);
    const { maxConnections = 0, perIpMax = 0, trustedProxies = [] } = options;
    this.#maxConnections = maxConnections;
    this.#perIpMax = perIpMax;
    this.#descriptors = options.descriptorsMax ?? descriptorsMax().max;
    this.#trusted = readTrusted(trustedProxies);
    this.#refusing = { options: { ...OVERLOAD_DEFAULTS, ...options }, runtime, retryMs };
    const residentBytesMax = residentBytesMaxOf(options.residentBytesMax ?? 0);
    const bounds = { ...options, residentBytesMax };
    const others = descriptorsNow()?.count ?? 0;
    const capacity = capacityOf(this.#descriptors, others, maxConnections);
    const admission = new Admission(capacity, bounds, runtime, metrics, (trigger, isOpen) => {
      const { connectionsNow, connectionsMax } = admission;
      const facts = { trigger, connectionsNow, connectionsMax };
      if (isOpen) logger.warn(facts, "breaker opened: new subscriptions are refused");
      else logger.info(facts, "breaker closed");
    });
    const watch = new LoadWatch({
      runtime,
      onSample: (sample) => admission.observe(sample),
      onDescriptors: (count) => this.#resize(count - admission.connectionsNow),
      onStopped: () => admission.unobserved(),
    });
    this.#admission = admission;
    this.#sockets = new Sockets({
      admission,
      perIpMax,
      trusted: this.#trusted,
      refuseRaw: (socket) => refuseRaw(socket, this.#refusing),
      // Only while there is anybody to look after: a gateway without connections holds no timer.
      onBusy: () => watch.start(),
      onIdle: () => watch.stop(),
    });
    this.#resize(others);
  }

  /** New subscriptions are refused: nobody should be told to come again now. */
  get isOpen(): boolean {
    return this.#admission.isOpen;
  }

  /** The event loop or memory is beyond its bound: readiness should fail. */
  get isOverloaded(): boolean {
    return this.#admission.isOverloaded;
  }

  /** Counts the sockets of this server from their accept on; see `Sockets.watch`. */
  watch(server: Server): void {
    this.#sockets.watch(server);
  }

  /** From now on subscriptions are refused with `draining`, those that wait at once. */
  drain(): void {
    this.#admission.drain();
  }

  /** A request has come; called once for each, first of all. */
  requested(response: ServerResponse): void {
    this.#sockets.requested(response);
    // Whatever the answer will be, it makes room.
    if (this.#sockets.excessOf(response.req.socket) !== undefined) {
      response.setHeader("Connection", "close");
    }
  }

  /** Refuses any request on a socket that is one too many. False if it is none. Throws `too_many_connections`. */
  refusesExcess(request: IncomingMessage, response: ServerResponse): boolean {
    const reason = this.#sockets.excessOf(request.socket);
    if (reason === undefined) return false;
    this.#admission.refused(reason);
    refuse(request, response, reason, this.#refusing);
    return true;
  }

  /**
   * Resolves with true when this subscription may be opened, which may take until its turn has come;
   * with false when it was refused and answered, or its client has gone. Rejects with `too_many_connections`.
   * A soft refusal speaks in comments if `isQuiet`.
   */
  async admits(
    request: IncomingMessage,
    response: ServerResponse,
    isQuiet = false,
  ): Promise<boolean> {
    if (request.socket.destroyed) return false;
    const refusing = { ...this.#refusing, isQuiet };
    const key = this.#forwardedKey(request);
    if (key !== undefined && !this.#sockets.enter(key)) {
      this.#admission.refused("per_ip");
      refuse(request, response, "per_ip", refusing);
      return false;
    }
    if (key !== undefined) response.once("close", () => this.#sockets.leave(key));
    const outcome = await this.#turn(response, this.#sockets.hasRoom(request.socket));
    if (outcome !== "admitted" && outcome !== "gone") {
      refuse(request, response, outcome, refusing);
    }
    return outcome === "admitted";
  }

  /** Refuses to say what a subscription would look like while none is admitted. False if one would be. */
  refusesHead(request: IncomingMessage, response: ServerResponse): boolean {
    const { refusal } = this.#admission;
    if (refusal === undefined) return false;
    this.#admission.refused(refusal);
    refuse(request, response, refusal, this.#refusing);
    return true;
  }

  /** Refuses a subscription that was admitted, because the drain has begun while it was opened. */
  refuseDraining(request: IncomingMessage, response: ServerResponse, isQuiet = false): void {
    this.#admission.refused("draining");
    refuse(request, response, "draining", { ...this.#refusing, isQuiet });
  }

  /**
   * Refuses a subscription that was admitted, because the origin that it needs has no room or no
   * health; `retryAfterMs` is what the origin has said itself.
   */
  refuseUpstream(
    request: IncomingMessage,
    response: ServerResponse,
    { isQuiet, retryAfterMs }: { readonly isQuiet: boolean; readonly retryAfterMs?: number },
  ): void {
    this.#admission.refused("upstream");
    const { options } = this.#refusing;
    const its = retryAfterMs === undefined ? options : { ...options, retryAfterMs };
    refuse(request, response, "upstream", { ...this.#refusing, options: its, isQuiet });
  }

  /** A refusal of this request would be a 200 that ends: its client is one that survives nothing else. */
  refusesSoftly(request: IncomingMessage): boolean {
    return refusalForm(request, this.#refusing.options.response) === "soft";
  }

  /** A proxy in front that is believed. */
  isTrusted(address: string): boolean {
    return isTrusted(this.#trusted, address);
  }

  #turn(response: ServerResponse, hasRoom: boolean): Promise<Outcome | "gone"> {
    return new Promise((resolve) => {
      const onGone = (): void => {
        withdraw();
        resolve("gone");
      };
      // Only while it waits: a listener would stay for as long as the stream does.
      response.on("close", onGone);
      const withdraw = this.#admission.ask((outcome) => {
        response.off("close", onGone);
        resolve(outcome);
      }, hasRoom);
    });
  }

  /** Whom a trusted proxy speaks for; undefined where nobody is counted so. */
  #forwardedKey(request: IncomingMessage): string | undefined {
    const { remoteAddress } = request.socket;
    if (this.#perIpMax === 0 || remoteAddress === undefined) return undefined;
    if (!isTrusted(this.#trusted, remoteAddress)) return undefined;
    const header = request.headers["x-forwarded-for"];
    const address = forwardedAddress(this.#trusted, remoteAddress, header);
    return isTrusted(this.#trusted, address) ? undefined : addressKey(address);
  }

  /** `others` are descriptors that are no public connections. */
  #resize(others: number): void {
    const capacity = capacityOf(this.#descriptors, others, this.#maxConnections);
    this.#admission.resize(capacity);
    const reserve = reserveOf(this.#descriptors);
    const left = Math.max(0, this.#descriptors - others - capacity);
    const answeredMax = Math.min(Math.ceil(reserve / 2), Math.floor((left * 2) / 3));
    this.#sockets.limit(answeredMax, Math.max(1, Math.floor((left - answeredMax) / 2)));
  }
}
