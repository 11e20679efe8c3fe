import { randomBytes } from "node:crypto";
import type { Idempotency } from "../../core/broker.ts";
import { SluiceError } from "../../core/errors.ts";
import type { Hub } from "../../core/hub.ts";
import { checkFingerprint, keyOf } from "../../core/idempotency.ts";
import { checkTopicName } from "../../core/topic-name.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { Run } from "./run.ts";
import type { Produce } from "./run.ts";
import { RUNS_DEFAULTS, RUN_DEFAULTS } from "./run-options.ts";
import type { RunOptions, RunsOptions } from "./run-options.ts";

export interface StartRun {
  readonly tenant: string;
  /** 1-255 bytes of a topic's name. @defaultValue 128 random bits */
  readonly id?: string | undefined;
  /** A second start with the same key is given the same run, until that is forgotten. */
  readonly idempotency?: (Idempotency & { readonly scope: string }) | undefined;
  readonly produce: Produce;
  readonly options?: Partial<RunOptions>;
}

/** All runs of a hub: those that are open, and those that can still be read. */
export class RunRegistry {
  readonly #hub: Hub;
  readonly #runtime: Runtime;
  #options: RunsOptions = RUNS_DEFAULTS;
  /** By tenant and id. The oldest first. */
  readonly #runs = new Map<string, Run>();
  readonly #keys = new Map<string, { readonly fingerprint: string; readonly run: Run }>();
  readonly #keyOf = new Map<Run, string>();
  readonly #openOf = new Map<string, number>();
  /** Those that are over, in the order of their ends, until their time is up: the first give way. */
  readonly #over = new Map<Run, Timer>();
  #openNow = 0;

  constructor(hub: Hub, runtime: Runtime) {
    this.#hub = hub;
    this.#runtime = runtime;
  }

  configure(options: Partial<RunsOptions>): void {
    this.#options = { ...this.#options, ...options };
  }

  /** Runs whose producer works. */
  get openNow(): number {
    return this.#openNow;
  }

  /** Runs that can be read. */
  get runsNow(): number {
    return this.#runs.size;
  }

  get(tenant: string, id: string): Run | undefined {
    return this.#runs.get(keyOf(tenant, id));
  }

  /** The run that was started with this key. Throws `idempotency_conflict` if that was another request. */
  find(tenant: string, idempotency: NonNullable<StartRun["idempotency"]>): Run | undefined {
    const known = this.#keys.get(scopedKey(tenant, idempotency));
    if (known !== undefined) checkFingerprint(idempotency.scope, idempotency, known.fingerprint);
    return known?.run;
  }

  /**
   * Starts a run, unless there is one with this id or idempotency key: then nothing is produced, and
   * `isNew` is false. Throws `runs_exhausted`, `idempotency_conflict` or `topic_name_invalid`.
   */
  start(start: StartRun): { readonly run: Run; readonly isNew: boolean } {
    const { tenant, idempotency, produce, options } = start;
    const id = start.id === undefined ? randomBytes(16).toString("base64url") : start.id;
    checkTopicName(`runs/${id}`);
    const known =
      this.get(tenant, id) ??
      (idempotency === undefined ? undefined : this.find(tenant, idempotency));
    if (known !== undefined) return { run: known, isNew: false };
    this.#makeRoom(tenant);
    const run = new Run({
      id,
      tenant,
      hub: this.#hub,
      runtime: this.#runtime,
      options: { ...RUN_DEFAULTS, ...options },
      produce,
      onEnd: (ended, isStored) => this.#onEnd(ended, isStored),
    });
    this.#runs.set(keyOf(tenant, id), run);
    this.#openNow += 1;
    this.#openOf.set(tenant, (this.#openOf.get(tenant) ?? 0) + 1);
    if (idempotency !== undefined) {
      const key = scopedKey(tenant, idempotency);
      this.#keys.set(key, { fingerprint: idempotency.fingerprint, run });
      this.#keyOf.set(run, key);
    }
    return { run, isNew: true };
  }

  /** Ends every open run with `error`: `shutdown`, which its readers are told. */
  shutdown(): void {
    for (const run of this.#runs.values()) {
      if (run.state !== "open") continue;
      void run.fail(new SluiceError("shutting_down", "shutdown"));
    }
  }

  #makeRoom(tenant: string): void {
    const { runsMax, perTenantMax } = this.#options;
    if (this.#openNow >= runsMax || (this.#openOf.get(tenant) ?? 0) >= perTenantMax) {
      throw new SluiceError(
        "runs_exhausted",
        `${this.#openNow} runs are open, of at most ${runsMax}`,
      );
    }
    for (const oldest of this.#over.keys()) {
      if (this.#runs.size < runsMax) return;
      this.#forget(oldest);
    }
  }

  #onEnd(run: Run, isStored: boolean): void {
    this.#openNow -= 1;
    const ofTenant = (this.#openOf.get(run.tenant) ?? 1) - 1;
    if (ofTenant > 0) this.#openOf.set(run.tenant, ofTenant);
    else this.#openOf.delete(run.tenant);
    const timer = this.#runtime.after(run.options.ttlMs, () => this.#forget(run));
    this.#over.set(run, timer);
    // Whoever came to it would wait for an end that is not there.
    if (!isStored) this.#forget(run);
  }

  #forget(run: Run): void {
    this.#over.get(run)?.cancel();
    if (!this.#over.delete(run)) return;
    this.#hub.metrics.add("sluice_runs", run.state, -1);
    this.#runs.delete(keyOf(run.tenant, run.id));
    const key = this.#keyOf.get(run);
    this.#keyOf.delete(run);
    if (key !== undefined) this.#keys.delete(key);
    run.discard();
  }
}

const registries = new WeakMap<Hub, RunRegistry>();

/** The runs of a hub: the same for its library and every gateway that serves it. */
export function runsOf(hub: Hub, runtime: Runtime): RunRegistry {
  let registry = registries.get(hub);
  if (registry === undefined) registries.set(hub, (registry = new RunRegistry(hub, runtime)));
  return registry;
}

/** Each part has its length in front, so that no two triples share a key (law 21). */
function scopedKey(tenant: string, { scope, key }: NonNullable<StartRun["idempotency"]>): string {
  return keyOf(tenant, keyOf(scope, key));
}
