'use strict';
// What the tests of the package for Node.js share: the package, a bus of their own, a daemon, other processes.
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const packageFolder = process.env.PENSTOCK_NODE;
const penstock = require(packageFolder);
const programs = process.env.PENSTOCK_BIN;

const daemons = new WeakMap(); // what stops those of a bus

/** A bus that is there for the length of a test, with a topic `ticks` that lives in memory only. */
function busOf(test) {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-node.'));
  const directory = join(folder, 'bus');
  const bus = penstock.Bus.open(directory);
  bus.createTopic('ticks', { durability: 'memory', ringBytes: 65536 });
  test.after(async () => {
    bus.close();
    for (const stop of daemons.get(bus) ?? []) await stop();
    spawnSync(join(programs, 'penstock'), ['--bus', directory, 'bus', 'delete', '--yes']);
    rmSync(folder, { recursive: true, force: true });
  });
  return bus;
}

/** penstockd for a bus; stopped before the bus goes, also when the test fails. */
function daemonOf(test, bus) {
  const child = spawn(join(programs, 'penstockd'), ['--bus', bus.directory], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    return (await ended)[0];
  };
  daemons.set(bus, [stop]);
  return { stop };
}

/** A program with the package as `penstock` and the arguments from process.argv[1] on: { status, stdout, stderr }. */
function run(source, ...given) {
  const program = `'use strict'; const penstock = require(${JSON.stringify(packageFolder)});\n${source}`;
  return spawnSync(process.execPath, ['-e', program, '--', ...given], { encoding: 'utf8', timeout: 60_000 });
}

module.exports = { busOf, daemonOf, packageFolder, penstock, run };
