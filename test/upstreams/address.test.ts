import { assert, ipV4, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { VirtualRuntime } from "../../src/testing/virtual-runtime.ts";
import { isPublicAddress } from "../../src/upstreams/address-ranges.ts";
import { AddressBook } from "../../src/upstreams/address.ts";
import type { Address, AddressBookOptions } from "../../src/upstreams/address.ts";
import { parseOrigin } from "../../src/upstreams/origin.ts";

const V4 = (address: string): Address => ({ address, family: 4 });
const V6 = (address: string): Address => ({ address, family: 6 });
const asked = (text: string) => parseOrigin(text, { isNamed: false });
const named = (text: string) => parseOrigin(text, { isNamed: true });
const MS = 5_000;

/** A DNS that says what the test makes it say, and counts. */
function world(options: AddressBookOptions = {}) {
  const runtime = new VirtualRuntime();
  const dns = {
    asked: 0,
    answer: (): Promise<readonly Address[]> => Promise.resolve([V4("93.184.216.34")]),
  };
  const lookup = (): Promise<readonly Address[]> => {
    dns.asked += 1;
    return dns.answer();
  };
  return { runtime, dns, book: new AddressBook(runtime, { lookup, ...options }) };
}

const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));
const silent = () => new Promise<never>(() => {});

describe("addresses that a request may lead to", () => {
  test.each([
    ["127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255"],
    ["192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192"],
    ["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "198.18.0.1"],
    ["168.63.129.16", "192.0.2.1", "198.51.100.1", "203.0.113.1"],
    ["::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1"],
    ["fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"],
    ["64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:7f00:1::"],
    ["2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1"],
    ["", "localhost", "127.1", "0x7f000001", "1.2.3.4.5", "::ffff:0:127.0.0.1"],
  ])("S20 are not %s, %s and the like", (...addresses) => {
    for (const address of addresses)
      expect([address, isPublicAddress(address)]).toEqual([address, false]);
  });

  test.each([
    ["1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"],
    ["2606:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"],
  ])("S20 are %s, %s and the like", (...addresses) => {
    for (const address of addresses)
      expect([address, isPublicAddress(address)]).toEqual([address, true]);
  });

  test("S20 IPv4 addresses are judged alike in every form", () => {
    assert(
      property(ipV4(), (address) => {
        const isPublic = isPublicAddress(address);
        expect(isPublicAddress(`::ffff:${address}`)).toBe(isPublic);
        expect(isPublicAddress(`64:ff9b::${address}`)).toBe(isPublic);
        expect(isPublicAddress(`0:0:0:0:0:FFFF:${address}`)).toBe(isPublic);
      }),
    );
  });

  test.each([
    "http://0x7f.1",
    "http://2130706433",
    "http://0177.0.0.1",
    "http://127.1",
    "http://127.0.0.1.",
    "http://[::ffff:127.0.0.1]",
    "http://[::1]",
    "http://①②⑦.0.0.1",
    "http://169.254.169.254",
  ])("S20 %s is forbidden without asking DNS", async (text) => {
    const { book, dns } = world();
    await expect(book.addressesOf(asked(text), MS)).rejects.toMatchObject({
      code: "upstream_forbidden",
    });
    expect(dns.asked).toBe(0);
  });

  test.each(["http://inside.example", "http://inside.example.", "http://xn--bcher-kva.example"])(
    "S20 %s is forbidden if one of its addresses is private, whichever comes first",
    async (text) => {
      const { book, dns } = world();
      dns.answer = () => Promise.resolve([V4("93.184.216.34"), V6("::ffff:10.0.0.1")]);
      await expect(book.addressesOf(asked(text), MS)).rejects.toMatchObject({
        code: "upstream_forbidden",
        message: expect.not.stringContaining("10.0.0.1"),
      });
    },
  );

  test("S20 a name that changes its mind is checked anew each time, cached answers too", async () => {
    const { book, dns, runtime } = world();
    const origin = asked("http://rebinding.example");
    await expect(book.addressesOf(origin, MS)).resolves.toEqual([V4("93.184.216.34")]);
    dns.answer = () => Promise.resolve([V4("127.0.0.1")]);
    await runtime.run(2_000);
    const forbidden = { code: "upstream_forbidden" };
    await expect(book.addressesOf(origin, MS)).rejects.toMatchObject(forbidden);
    // From the cache now, where the configuration's own use may have put it.
    await expect(book.addressesOf(origin, MS)).rejects.toMatchObject(forbidden);
    expect(dns.asked).toBe(2);
  });

  test("S20 what the configuration names may be private", async () => {
    const { book, dns } = world();
    dns.answer = () => Promise.resolve([V4("10.0.0.7")]);
    await expect(book.addressesOf(named("http://app"), MS)).resolves.toEqual([V4("10.0.0.7")]);
    await expect(book.addressesOf(named("http://[::1]"), MS)).resolves.toEqual([V6("::1")]);
  });
});

describe("DNS", () => {
  test("is asked once by a burst, and not again while the answer is fresh", async () => {
    const { book, dns, runtime } = world();
    const origin = named("http://app");
    await Promise.all(Array.from({ length: 100 }, () => book.addressesOf(origin, MS)));
    await book.addressesOf(origin, MS);
    expect(dns.asked).toBe(1);
    await runtime.run(1_001);
    await book.addressesOf(origin, MS);
    expect(dns.asked).toBe(2);
  });

  test("the families take turns, the system's first one first", async () => {
    const { book, dns } = world();
    dns.answer = () => Promise.resolve([V6("::1"), V6("::2"), V4("1.1.1.1"), V6("::3")]);
    const found = await book.addressesOf(named("http://app"), MS);
    expect(found.map(({ address }) => address)).toEqual(["::1", "1.1.1.1", "::2", "::3"]);
  });

  test("P22 that fails, of a name never resolved: upstream_unreachable", async () => {
    const { book, dns } = world();
    dns.answer = failing("EAI_AGAIN");
    await expect(book.addressesOf(named("http://app"), MS)).rejects.toMatchObject({
      code: "upstream_unreachable",
      message: "app cannot be resolved: DNS failed",
    });
    dns.answer = failing("ENOTFOUND");
    await expect(book.addressesOf(named("http://app"), MS)).rejects.toMatchObject({
      code: "upstream_unreachable",
      message: "app cannot be resolved: there is no such name",
    });
  });

  test("P22 that is silent, of a name never resolved: upstream_timeout at the deadline", async () => {
    const { book, dns, runtime } = world();
    dns.answer = silent;
    let error: unknown;
    void book.addressesOf(named("http://app"), MS).catch((reason: unknown) => (error = reason));
    await runtime.run(4_999);
    expect(error).toBeUndefined();
    await runtime.run(1);
    expect(error).toMatchObject({ code: "upstream_timeout" });
  });

  test.each([
    ["fails", failing("EAI_AGAIN"), 0],
    ["refuses", failing("ECONNREFUSED"), 0],
    ["is silent", silent, 1_000],
  ])(
    "P22 that %s: the last good addresses are used for five minutes",
    async (_, answer, waitMs) => {
      const { book, dns, runtime } = world();
      const origin = named("http://app");
      const good = await book.addressesOf(origin, MS);
      dns.answer = answer;
      await runtime.run(299_000 - waitMs);
      let got: unknown;
      void book.addressesOf(origin, MS).then((addresses) => (got = addresses));
      await runtime.run(waitMs);
      expect(got).toEqual(good);
      await runtime.run(2_000);
      let error: unknown;
      void book.addressesOf(origin, MS).catch((reason: unknown) => (error = reason));
      await runtime.run(MS);
      expect(error).toMatchObject({
        code: expect.stringMatching(/^upstream_(unreachable|timeout)$/),
      });
    },
  );

  test("P22 that answers late: the answer counts for the next one", async () => {
    const { book, dns, runtime } = world();
    const origin = named("http://app");
    await book.addressesOf(origin, MS);
    await runtime.run(10_000);
    let answer: (addresses: readonly Address[]) => void = () => {};
    dns.answer = () => new Promise((resolve) => (answer = resolve));
    const stale = book.addressesOf(origin, MS);
    await runtime.run(1_000);
    await expect(stale).resolves.toEqual([V4("93.184.216.34")]);
    answer([V4("10.0.0.8")]);
    await runtime.run(0);
    await expect(book.addressesOf(origin, MS)).resolves.toEqual([V4("10.0.0.8")]);
  });

  test("P22 a name that exists no more leads nowhere: its address may be another's by now", async () => {
    const { book, dns, runtime } = world();
    const origin = named("http://app");
    await book.addressesOf(origin, MS);
    await runtime.run(10_000);
    dns.answer = failing("ENOTFOUND");
    const gone = { code: "upstream_unreachable" };
    await expect(book.addressesOf(origin, MS)).rejects.toMatchObject(gone);
    dns.answer = failing("EAI_AGAIN");
    await expect(book.addressesOf(origin, MS)).rejects.toMatchObject(gone);
  });

  test("P22 that drops everything holds 256 lookups at most", async () => {
    const { book, dns, runtime } = world();
    dns.answer = silent;
    const codes: string[] = [];
    for (let at = 0; at < 300; at += 1) {
      void book.addressesOf(named(`http://app-${at}`), MS).catch((error: { code: string }) => {
        codes.push(error.code);
      });
    }
    await runtime.run(0);
    expect(codes).toEqual(Array.from({ length: 44 }, () => "upstream_unreachable"));
    expect(dns.asked).toBe(256);
    await runtime.run(MS);
    expect(codes).toHaveLength(300);
  });

  test("the system's own is asked by default", async () => {
    const book = new AddressBook(new VirtualRuntime());
    const found = await book.addressesOf(named("http://localhost"), MS);
    expect(found.map(({ address }) => address)).toContainEqual(
      expect.stringMatching(/^(127\.0\.0\.1|::1)$/),
    );
  });
});
