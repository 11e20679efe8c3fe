export { createHub, DEFAULT_TENANT, LocalHub, Topic } from "./gateway/hub.ts";
export type { CreateHubOptions } from "./gateway/hub-options.ts";
export type {
  EventsOptions,
  LocalRun,
  LocalRunOptions,
  PipeOptions,
  Publishable,
  Published,
  PublishOptions,
  TopicItem,
} from "./gateway/hub.ts";
export { createGateway } from "./gateway/gateway.ts";
export type { Gateway, GatewayOptions } from "./gateway/gateway.ts";
export { ROUTE_DEFAULTS } from "./gateway/proxy/route.ts";
export type { Control, OnEnd, ProxyRoute, Share } from "./gateway/proxy/route.ts";
export type { UpstreamsOptions } from "./gateway/proxy/proxy.ts";
export { parseOrigin } from "./upstreams/origin.ts";
export type { Origin } from "./upstreams/origin.ts";
export type { PoolOptions } from "./upstreams/pool/pool-options.ts";
export type { ReadersGone, RunOptions, RunsOptions } from "./upstreams/runs/run-options.ts";
export type { RunEnd, RunState } from "./upstreams/runs/run.ts";
export type { DoorOptions } from "./gateway/door-options.ts";
export type { Logger } from "./gateway/logger.ts";
export { createMemoryBroker } from "./brokers/memory.ts";
export type { MemoryBrokerOptions } from "./brokers/memory.ts";
export { ERRORS, SluiceError } from "./core/errors.ts";
export type { ErrorCode, ErrorRow } from "./core/errors.ts";
export { DISCONNECTS } from "./core/disconnect.ts";
export type { DisconnectReason } from "./core/disconnect.ts";
export { DRAIN_HOWS } from "./core/drain.ts";
export type { DrainHow, DrainOptions, DrainReport } from "./core/drain.ts";
export { METRICS } from "./core/metrics.ts";
export type * from "./core/broker.ts";
export type { EventInput } from "./core/event.ts";
export type {
  Lane,
  Policy,
  Retention,
  TopicSettings,
  TopicSettingsInput,
} from "./core/settings.ts";
