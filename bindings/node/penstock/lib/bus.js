'use strict';
// The bus, and what is opened from it.
const native = require('../penstock.node');
const { closedError } = require('./errors.js');
const options = require('./options.js');
const { Producer } = require('./producer.js');
const { Consumer, Event, Reader, dateOf } = require('./stream.js');

class Bus {
  #handle;
  #directory;
  #opened = new Set();
  #left = (handle) => this.#opened.delete(handle);

  static open(directory, given) {
    const { create = true } = options.known(given, ['create'], 'Bus.open');
    return new Bus(native.busOpen(directory, Number(!create)), directory);
  }

  static unload(directory) {
    native.busUnload(directory);
  }
  static remove(directory) {
    native.busRemove(directory);
  }

  /** Bus.open makes them. */
  constructor(handle, directory) {
    this.#handle = handle;
    this.#directory = directory;
  }

  get directory() {
    return this.#directory;
  }
  get closed() {
    return this.#handle === undefined;
  }

  #open() {
    if (this.closed) throw closedError('bus');
    return this.#handle;
  }
  #keep(handle) {
    this.#opened.add(handle);
    return handle;
  }

  describe() {
    return { path: this.#directory, ...native.busDescribe(this.#open()) };
  }

  producer(topic, given) {
    const handle = native.producerOpen(this.#open(), topic, options.producerOptions(given));
    return this.#keep(new Producer(handle, topic, this.#left));
  }

  consumer(group, topics = [], given) {
    const handle = native.consumerOpen(this.#open(), group, options.names(topics), ...options.consumerOptions(given));
    return this.#keep(new Consumer(handle, group, this.#left));
  }

  reader(topics, given) {
    const handle = native.readerOpen(this.#open(), undefined, options.names(topics), options.readerOptions(given));
    return this.#keep(new Reader(handle, this.#left));
  }

  createTopic(name, given) {
    native.topicCreate(this.#open(), name, options.topicOptions(given));
  }
  deleteTopic(name) {
    native.topicDelete(this.#open(), name);
  }
  describeTopic(name) {
    return options.topicInfo(native.topicDescribe(this.#open(), name));
  }
  topics() {
    return native.topicList(this.#open());
  }
  setRetention(topic, limits) {
    native.topicRetention(this.#open(), topic, options.retention(limits));
  }
  setRetainUnacked(topic, retain = true) {
    native.topicRetainUnacked(this.#open(), topic, Number(retain));
  }
  setCompaction(topic, compact = true) {
    native.topicCompact(this.#open(), topic, Number(compact));
  }

  describeGroup(group, topic) {
    return native.groupDescribe(this.#open(), group, topic);
  }
  groups() {
    return native.groupList(this.#open());
  }
  groupTopics(group) {
    return native.groupTopics(this.#open(), group);
  }
  groupPending(group) {
    return native.groupPending(this.#open(), group).map((each) => ({ ...each, due: dateOf(each.due) }));
  }
  groupKeys(group) {
    return native.groupKeys(this.#open(), group).map((each) => ({ ...each, since: dateOf(each.since) }));
  }
  groupSettings(group) {
    return options.groupSettings(native.groupGet(this.#open(), group));
  }
  setGroup(group, given, topics = []) {
    native.groupSet(this.#open(), group, options.names(topics), ...options.consumerOptions(given));
  }
  seekGroup(group, to) {
    native.groupSeek(this.#open(), group, options.start(to));
  }
  pauseGroup(group, paused = true) {
    native.groupPause(this.#open(), group, Number(paused));
  }
  deleteGroup(group) {
    native.groupDelete(this.#open(), group);
  }

  deadLetters(group, most = 1000) {
    const found = native.deadLetters(this.#open(), group, options.count(most, 'most'));
    return Array.from({ length: found.length / 2 }, (_, i) => new Event(found[2 * i], found[2 * i + 1]));
  }
  redrive(group, letter) {
    native.redrive(this.#open(), group, options.offset(letter));
  }
  purge(group, letter) {
    native.purge(this.#open(), group, options.offset(letter));
  }

  close() {
    for (const handle of [...this.#opened]) handle.close();
    if (!this.closed) native.busClose(this.#handle);
    this.#handle = undefined;
  }
}

// `using` and `await using`, in versions of Node that have the symbols.
for (const each of [Bus, Producer, Consumer, Reader]) {
  if (Symbol.dispose) each.prototype[Symbol.dispose] = function () { this.close(); };
  if (Symbol.asyncDispose) each.prototype[Symbol.asyncDispose] = async function () { this.close(); };
}

module.exports = { Bus };
