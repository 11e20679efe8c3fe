/** No request can name a tenant that begins so: NUL is in no token, header or path. */
const PREFIX = "\0upstream\0";

/**
 * The hidden tenant in which the topics live that upstream responses feed for `tenant`: nobody can
 * publish there, follow them by a pattern, or guess one through the interface of topics.
 */
export function feedTenant(tenant: string): string {
  return PREFIX + tenant;
}

/** On whose behalf a tenant's topics are kept: of a hidden one its owner, of any other itself. */
export function ownerOf(tenant: string): string {
  return tenant.startsWith(PREFIX) ? tenant.slice(PREFIX.length) : tenant;
}

/** A tenant's name for people. */
export function shownTenant(tenant: string): string {
  return tenant.startsWith(PREFIX) ? `${ownerOf(tenant)} (upstream)` : tenant;
}
