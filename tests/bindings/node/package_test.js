'use strict';
// The package is what its types and the README say, and behaves in processes and threads.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { mkdtempSync, readFileSync, rmSync, readdirSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { busOf, daemonOf, packageFolder, penstock, run } = require('./support.js');

const types = readFileSync(join(packageFolder, 'index.d.ts'), 'utf8');
const root = join(__dirname, '../../..');

/** Names declared in a class of index.d.ts. */
function declared(name) {
  const body = types.match(new RegExp(`class ${name}\\b[^{]*\\{\\n([^]*?)\\n\\}`))[1];
  return [...body.matchAll(/^  (?:readonly |static )?(\w+)[(:]/gm)].map((match) => match[1]);
}

test('the types name what is there and nothing else', () => {
  const values = [...types.matchAll(/^export (?:class|const) (\w+)/gm)].map((match) => match[1]);
  assert.deepEqual(values.sort(), Object.keys(penstock).sort());
  for (const [name, bases] of Object.entries({ Bus: [], Producer: [], Reader: ['Stream'], Consumer: ['Stream'] })) {
    const there = new Set();
    const type = penstock[name];
    for (const owner of [type, type.prototype, ...bases.map(() => Object.getPrototypeOf(type.prototype))])
      for (const each of Object.getOwnPropertyNames(owner)) there.add(each);
    for (const hidden of ['constructor', 'length', 'name', 'prototype']) there.delete(hidden);
    const told = new Set([name, 'Handle', ...bases].flatMap(declared));
    told.delete('constructor');
    assert.deepEqual([...told].sort(), [...there].sort(), name);
  }
  for (const name of values.filter((each) => /Error$/.test(each)))
    assert.ok(penstock[name] === penstock.PenstockError || penstock[name].prototype instanceof penstock.PenstockError);
});

test('the events that come have what the types say', async (t) => {
  const bus = busOf(t);
  bus.producer('ticks').publish('a');
  const event = await bus.reader('ticks', { from: 'beginning' }).next();
  assert.deepEqual([...Object.keys(event), 'time'].sort(), declared('Event').filter((each) => each !== 'constructor').sort());
  const delivery = await bus.consumer('desk', 'ticks').next();
  assert.deepEqual(Object.keys(delivery).filter((each) => !(each in event)), declared('Delivery'));
});

test('the example in the README runs', async (t) => {
  const example = readFileSync(join(root, 'README.md'), 'utf8').match(/^```js\n([^]*?)^```$/m)[1];
  assert.ok(example.includes("'/var/lib/shop'") && example.endsWith('main();\n'));
  const bus = busOf(t);
  daemonOf(t, bus);
  const ended = run(`
    const shipped = [];
    const ship = async (payload) => { shipped.push(payload.toString()); setImmediate(() => fulfillment.close()); };
    const require_ = require; require = (name) => name === 'penstock' ? penstock : require_(name);
    let bus, fulfillment;
    ${example.replace("'/var/lib/shop'", 'process.argv[1]').replace(/const (bus|fulfillment) =/g, '$1 =').replace(/;\n$/, '')}
      .then(() => console.log(JSON.stringify([shipped, bus.describeGroup('fulfillment', 'payment.confirmed').acked])));`,
    bus.directory);
  assert.equal(ended.stderr, '');
  assert.deepEqual(JSON.parse(ended.stdout), [['paid'], 1]);
});

test('a process ends when nothing waits, and not before', (t) => {
  const bus = busOf(t);
  const idle = run(`
    const bus = penstock.Bus.open(process.argv[1]);
    const reader = bus.reader('ticks');
    bus.consumer('desk', 'ticks');
    bus.producer('ticks');
    reader.next({ timeout: 1 }).then((none) => console.log(none));`, bus.directory);
  assert.deepEqual([idle.status, idle.stdout, idle.stderr], [0, 'null\n', '']);
  const waiting = run(`
    const bus = penstock.Bus.open(process.argv[1]);
    bus.reader('ticks').next().then((event) => console.log(event.payload.toString()));
    setTimeout(() => bus.producer('ticks').publish('late'), 1).unref();`, bus.directory);
  assert.deepEqual([waiting.status, waiting.stdout, waiting.stderr], [0, 'late\n', '']);
  const exiting = run(`
    const bus = penstock.Bus.open(process.argv[1]);
    const orders = bus.producer('orders');
    orders.awaitDurable(orders.publish('x')).catch(() => {});
    bus.reader('ticks').next();
    setImmediate(() => process.exit(7));`, bus.directory);
  assert.deepEqual([exiting.status, exiting.stderr], [7, '']);
});

test('threads each have the package, also when they are ended while they wait', async (t) => {
  const bus = busOf(t);
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { Bus } = require(workerData.packageFolder);
    const bus = Bus.open(workerData.directory);
    const orders = bus.producer('orders');
    orders.awaitDurable(orders.publish('never')).catch(() => {});
    (async () => {
      for await (const event of bus.consumer('desk', 'ticks')) parentPort.postMessage(event.payload.toString());
    })();`;
  const workerData = { packageFolder, directory: bus.directory };
  const workers = [0, 1].map(() => new Worker(source, { eval: true, workerData }));
  const heard = new Promise((resolve) => {
    for (const worker of workers) worker.on('message', resolve);
  });
  bus.producer('ticks').publish('hello');
  assert.equal(await heard, 'hello');
  await Promise.all(workers.map((worker) => worker.terminate()));
});

test('it runs from where it was installed, with nothing set', (t) => {
  const prefix = mkdtempSync(join(tmpdir(), 'penstock-node.'));
  t.after(() => rmSync(prefix, { recursive: true, force: true }));
  const build = join(process.env.PENSTOCK_BIN, '..');
  for (const component of ['runtime', 'node'])
    execFileSync('cmake', ['--install', build, '--prefix', prefix, '--component', component], { stdio: 'ignore' });
  const folder = execFileSync('find', [prefix, '-name', 'package.json'], { encoding: 'utf8' }).trim().replace('/package.json', '');
  assert.deepEqual(readdirSync(folder).sort(), ['index.d.ts', 'index.js', 'lib', 'package.json', 'penstock.node']);
  const bus = busOf(t);
  const program = `
    const { Bus, version } = require(process.argv[1]);
    const bus = Bus.open(process.argv[2]);
    bus.producer('ticks').publish(version);`;
  execFileSync(process.execPath, ['-e', program, '--', folder, bus.directory], { env: {}, stdio: 'inherit' });
  assert.equal(bus.describeTopic('ticks').nextOffset, 1n);
  assert.equal(JSON.parse(readFileSync(join(folder, 'package.json'))).version, penstock.version);
});
