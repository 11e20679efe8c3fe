import { describe, expect, test } from "vitest";
import { peerOf } from "../../src/gateway/proc-net-address.ts";
import { StuckSocketScan } from "../../src/internal/proc-net-tcp.ts";

const TITLES4 =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const TITLES6 =
  "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

/** Captured on Linux 6.18, on port 8080 (1F90): the kernel pads rows of IPv4 to 150 bytes, those of IPv6 not. */
const ROWS4 = [
  "   0: 0100000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1662 1 00000000f8d6fabe 100 0 0 10 0",
  // All is acknowledged.
  "   1: 0100000A:1F90 0200000A:E4E0 01 00000000:00000000 02:0000018F 00000000     0        0 1670 2 0000000070db90d6 20 4 30 10 -1",
  // On its way, and nothing is late.
  "   2: 0100000A:1F90 0200000A:E4E1 01 00000400:00000000 01:00000017 00000000     0        0 1671 3 0000000070db90d7 20 4 30 10 -1",
  // Retransmitted, of six digits.
  "123456: 0100000A:1F90 0200000A:E4E2 01 00000400:00000000 01:00000117 00000004     0        0 1672 4 0000000070db90d8 1600 4 30 10 -1",
  // A closed window: its probes are answered.
  "   4: 0100000A:1F90 0200000A:E4E3 01 0000F2A4:00000000 04:00000122 00000000     0        0 1673 3 0000000070db90d9 20 4 30 10 -1",
  // And one is not yet, and twelve are not; the user has ten digits.
  "   5: 0100000A:1F90 0200000A:E4E4 01 0000F2A4:00000000 04:00000122 00000000     0        1 1673 3 0000000070db90d9 20 4 30 10 -1",
  "   6: 0100000A:1F90 0200000A:E4E5 01 0000F2A4:00000000 04:00000122 00000000 4294967294       12 1673 3 0000000070db90d9 20 4 30 10 -1",
  // Half-closed by the peer, then vanished.
  "   7: 0100000A:1F90 0200000A:E4E6 08 00000001:00000000 01:00000055 00000002     0        0 1674 3 0000000070db90d0 20 4 30 10 -1",
  // We have closed it: nobody waits for it.
  "   8: 0100000A:1F90 0200000A:E4E7 04 00000001:00000000 01:00000055 00000002     0        0 0 3 0000000070db90d0 20 4 30 10 -1",
  "   9: 0100000A:1F90 0200000A:E4E8 06 00000000:00000000 03:0000175B 00000000     0        0 0 3 000000004ad5d065",
  // Another port of ours.
  "  10: 0100000A:1F91 0200000A:E4E9 01 00000001:00000000 01:00000055 00000002     0        0 1675 3 0000000070db90d0 20 4 30 10 -1",
].map((row) => row.padEnd(149));

const ROWS6 = [
  "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 4603619 3 0000000076b319ec 100 0 0 10 0",
  "12345: B80D0120000000000000000001000000:1F90 B80D0120000000000000000002000000:8060 01 00000010:00000000 01:00000055 00000003     0        0 0 1 00000000d88fdf86 20 0 0 10 -1",
  "   3: 0000000000000000FFFF00000100000A:1F90 0000000000000000FFFF00000200000A:D50C 01 00000010:00000000 01:00000055 00000001     0        0 0 1 000000004f88ce4b 20 0 0 10 -1",
];

const TABLE4 = Buffer.from([TITLES4.padEnd(149), ...ROWS4, ""].join("\n"));
const TABLE6 = Buffer.from([TITLES6, ...ROWS6, ""].join("\n"));

interface Found {
  readonly stuck: readonly string[];
  readonly rows: number;
  readonly outstanding: number;
}

function scan(family: 4 | 6, pieces: readonly Buffer[]): Found {
  const stuck: string[] = [];
  const found = new StuckSocketScan(8080, family, (socket) => {
    const { remote, unanswered, probeDueMs } = socket;
    stuck.push(`${peerOf(remote, "LE")} ${unanswered} ${probeDueMs}`);
  });
  for (const piece of pieces) found.push(piece);
  return { stuck, rows: found.rows, outstanding: found.outstanding };
}

const OF_TABLE4: Found = {
  stuck: [
    "10.0.0.2:58594 4 0",
    "10.0.0.2:58595 0 2900",
    "10.0.0.2:58596 1 2900",
    "10.0.0.2:58597 12 2900",
    "10.0.0.2:58598 2 0",
  ],
  rows: 11,
  outstanding: 6,
};
const OF_TABLE6: Found = {
  stuck: ["[2001:db8::2]:32864 3 0", "[::ffff:10.0.0.2]:54540 1 0"],
  rows: 3,
  outstanding: 2,
};

describe("the kernel's table of sockets", () => {
  test("tells whose peers leave retransmissions or probes unanswered or have closed their window, on our port only", () => {
    expect(scan(4, [TABLE4])).toEqual(OF_TABLE4);
  });

  test("of IPv6 is read alike, with IPv4 clients of a dual-stack listener", () => {
    expect(scan(6, [TABLE6])).toEqual(OF_TABLE6);
  });

  test.each([
    ["IPv4", 4, TABLE4, OF_TABLE4],
    ["IPv6", 6, TABLE6, OF_TABLE6],
  ] as const)("reads the same wherever it is cut (%s)", (_name, family, table, expected) => {
    for (let cut = 0; cut <= table.length; cut += 1) {
      expect(scan(family, [table.subarray(0, cut), table.subarray(cut)])).toEqual(expected);
    }
    for (const size of [1, 7, 64, 149, 150, 151, 1_000]) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < table.length; at += size) pieces.push(table.subarray(at, at + size));
      expect(scan(family, pieces)).toEqual(expected);
    }
  });

  test("survives what is no table", () => {
    const nothing = { stuck: [], rows: 0, outstanding: 0 };
    expect(scan(4, [])).toEqual(nothing);
    expect(scan(4, [Buffer.alloc(5_000, "x"), Buffer.from("\n\n:\n  0: 01")])).toEqual(nothing);
    const long = Buffer.concat([Buffer.alloc(5_000, "x"), Buffer.from("\n"), TABLE4]);
    expect(scan(4, [long.subarray(0, 600), long.subarray(600)])).toEqual(OF_TABLE4);
  });
});

describe("an address of the table", () => {
  test("is spelled as sockets spell it, whatever the machine's byte order", () => {
    expect(peerOf("0200000A:D431", "LE")).toBe("10.0.0.2:54321");
    expect(peerOf("0A000002:D431", "BE")).toBe("10.0.0.2:54321");
    expect(peerOf("20010DB8000000000000000000000002:0050", "BE")).toBe("[2001:db8::2]:80");
    expect(peerOf("00000000000000000000000001000000:FFFF", "LE")).toBe("[::1]:65535");
    expect(peerOf("000080FE000000000100000001000000:1F90", "LE")).toBe("[fe80::1:0:1]:8080");
  });
});
