// What one sender cannot do to the relay and to the other senders; keys that change; TLS.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { connect as connectTls } from 'node:tls'
import { gzipSync } from 'node:zlib'

import { Partner } from './lib/partner.mjs'
import { Relay, WRITE_KEY, folder } from './lib/relay.mjs'
import { basic, raw, send, track } from './lib/sender.mjs'
import { SLOWNESS, until } from './lib/wait.mjs'

const KIB = 1024
const MIB = KIB * KIB

async function world(t, config = {}) {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { destinations: { hook: { script: 'webhook', settings: { url: `${partner.url}/in` } } }, ...config })
  return { partner, relay }
}

// Resident bytes of all workers, without what they share. A sanitizer's own memory (what was freed is kept for a while) is
// not ours to judge.
async function resident(relay) {
  if (SLOWNESS > 1) return 0
  return (await relay.workerPids()).reduce((sum, pid) =>
    sum + Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * KIB, 0)
}

function connections(n, port) {
  return Promise.all(Array.from({ length: n }, () => new Promise((done, fail) => {
    const socket = connect(port, '127.0.0.1', () => done(socket))
    socket.on('error', fail)
  })))
}

async function stillServed(relay) {
  assert.equal((await send(relay, '/v1/track', { body: track('Other') })).status, 200)
}

// Decompressed bytes count while they come: a small body that would fill the memory is refused at the limit.
test('gzip bombs', async (t) => {
  const { relay } = await world(t, { limits: { body: '1MiB' } })
  await relay.start()
  const bombs = [gzipSync(Buffer.alloc(256 * MIB, ' ')), gzipSync(Buffer.concat([Buffer.from('{"a":"'), Buffer.alloc(64 * MIB, 'a')]))]
  await stillServed(relay)
  const before = await resident(relay)
  for (const bomb of bombs) {
    assert.ok(bomb.length < MIB)
    const answers = await Promise.all(Array.from({ length: 8 }, () =>
      send(relay, '/v1/batch', { body: bomb, headers: { 'content-encoding': 'gzip', origin: 'https://shop.example' } })))
    for (const answer of answers) {
      assert.equal(answer.status, 400)
      assert.equal(JSON.parse(answer.body).code, 'payload_too_large')
      assert.equal(answer.headers['access-control-allow-origin'], 'https://shop.example')
    }
  }
  await stillServed(relay)
  assert.ok(await resident(relay) - before < 16 * MIB)
})

// A sender that takes too long is cut off; the others do not notice.
test('slow senders', async (t) => {
  const { relay } = await world(t, { limits: { request_time: '1s' } })
  await relay.start()
  const body = JSON.stringify(track('Slow'))
  const head = `POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Length: ${body.length}\r\n\r\n`
  const starts = ['P', head.slice(0, 40), head, head + body.slice(0, 10)]
  const slow = starts.map((start) => new Promise((done) => {
    const socket = connect(relay.port, '127.0.0.1', () => socket.write(start))
    const drip = setInterval(() => socket.write('a'), 50)
    let text = ''
    socket.on('data', (chunk) => { text += chunk })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(drip)
      done(text)
    })
  }))
  await stillServed(relay)
  for (const text of await Promise.all(slow)) assert.doesNotMatch(text, /HTTP\/1\.1 (408|2)/)
  await stillServed(relay)
})

// Headers past their limit, in one line, in many, or after the body, are refused before they are kept.
test('header floods', async (t) => {
  const { relay } = await world(t)
  await relay.start()
  const start = `POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\n`
  const floods = {
    'one line': `${start}X: ${'a'.repeat(MIB)}`,
    'many lines': start + 'X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n'.repeat(20000),
    'many short lines': start + 'a:\r\n'.repeat(100000),
    'a long path': `GET /${'a'.repeat(MIB)}`,
    'a long name': `${start}${'a'.repeat(MIB)}`,
    trailers: `${start}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n${'X-Flood: aaaaaaaaaaaaaaaaa\r\n'.repeat(40000)}`,
  }
  const before = await resident(relay)
  for (const [name, bytes] of Object.entries(floods)) {
    const text = await raw(relay, bytes)
    assert.match(text, /^HTTP\/1\.1 431 |^$/, name) // a reset may overtake the answer
    assert.match(`${text}"code":"headers_too_large"`, /"code":"headers_too_large"/, name)
  }
  await stillServed(relay)
  assert.ok(await resident(relay) - before < 16 * MIB)
})

// Shapes in which two servers might see two different requests are refused, and nothing behind them is read.
test('smuggling', async (t) => {
  const { partner, relay } = await world(t)
  await relay.start()
  const hidden = JSON.stringify(track('Hidden'))
  const second = `POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`
  const start = `POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\n`
  const shapes = {
    'length and chunks': 'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'chunks and length': 'Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n',
    'two lengths': 'Content-Length: 0\r\nContent-Length: 5\r\n\r\n',
    'two lengths in one': 'Content-Length: 0, 5\r\n\r\n',
    'a signed length': 'Content-Length: +0\r\n\r\n',
    'a length in hexadecimal': 'Content-Length: 0x0\r\n\r\n',
    'an endless length': 'Content-Length: 99999999999999999999\r\n\r\n',
    'a space before the colon': 'Content-Length : 0\r\n\r\n',
    'bare line feeds': 'X-A: b\nContent-Length: 0\n\n',
    'a folded header': 'X-A: b\r\n Content-Length: 0\r\n\r\n',
    'chunks by another name': 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
    'chunks that are not last': 'Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
    'chunks twice': 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a chunk size with a sign': 'Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n',
    'a chunk that ends early': 'Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n',
  }
  for (const [name, shape] of Object.entries(shapes)) {
    const text = await raw(relay, start + shape + second)
    assert.match(text, /^HTTP\/1\.1 4\d\d /, name)
    assert.equal((text.match(/HTTP\/1\.1 /g) ?? []).length, 1, name)
  }
  await stillServed(relay)
  await partner.arrived(1)
  assert.deepEqual(partner.events().map((e) => e.event), ['Other'])
})

// So many that this process may have as many files open, and each worker keeps some for itself.
function manyConnections() {
  const [, most] = /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return Math.min(10000, Math.floor(Number(most ?? 1024) / 4 / 100) * 100)
}

// Ten thousand connections that say nothing take little memory, and whoever says something is served.
test('idle connections', async (t) => {
  const { relay } = await world(t, { limits: { idle_time: '20m' } })
  await relay.start()
  await stillServed(relay)
  const before = await resident(relay)
  const sockets = []
  t.after(() => { for (const socket of sockets) socket.destroy() })
  const n = manyConnections()
  while (sockets.length < n) sockets.push(...await connections(100, relay.port))
  await until('all are accepted', async () => {
    const held = await relay.metric('tidegate_http_connections')
    return held >= sockets.length || Promise.reject(new Error(`${held} of ${sockets.length}`))
  })
  const more = await resident(relay) - before
  assert.ok(more < n * 4 * KIB + MIB, `${more} bytes for ${n}`)
  await stillServed(relay)
  assert.equal(sockets.filter((s) => s.destroyed).length, 0)
})

// A key is replaced without a moment in which neither is good: both are taken, then the old one no more.
test('keys rotate', async (t) => {
  const { partner, relay } = await world(t, { sources: [{ name: 'web', write_key: 'old' }] })
  await relay.start()
  const code = async (key) => (await send(relay, '/v1/track', { body: track(key), key })).status
  const change = async (source) => {
    relay.config.sources = [{ name: 'web', ...source }]
    relay.pinPorts()
    relay.write()
    const { code: status, stderr } = await relay.command('reload')
    assert.equal(status, 0, stderr)
  }
  assert.deepEqual([await code('old'), await code('new')], [200, 401])
  await change({ write_keys: ['new', 'old'] })
  assert.deepEqual([await code('old'), await code('new')], [200, 200])
  await change({ write_key: 'new' })
  assert.deepEqual([await code('old'), await code('new')], [401, 200])
  await partner.arrived(4)
})

// What one source may send at once is its own, below what the relay takes; a reload changes it.
test('size limits of a source', async (t) => {
  const small = { body: '8KiB', event: '2KiB', batch: 5 }
  const { partner, relay } = await world(t, {
    limits: { body: '64KiB' },
    sources: [{ name: 'web', write_key: WRITE_KEY }, { name: 'kiosk', write_key: 'kiosk', limits: small }],
  })
  await relay.start()
  const batch = (n, bytes, more) => ({ batch: Array.from({ length: n }, (_, i) => track(`E${i}`, { properties: { x: 'y'.repeat(bytes) } })), ...more })
  const outcome = async (body, options) => {
    const answer = await send(relay, '/v1/batch', { body, ...options })
    return `${answer.status} ${JSON.parse(answer.body).code ?? ''}`.trim()
  }
  const bodies = [[batch(5, 1500), '200'], [batch(6, 1), '400 batch_too_large'], [batch(1, 9000), '400 payload_too_large']]
  for (const [body, expected] of bodies) {
    assert.equal(await outcome(body, { key: 'kiosk' }), expected)
    assert.equal(await outcome({ ...body, writeKey: 'kiosk' }, { key: null }), expected)
    assert.equal(await outcome(gzipSync(JSON.stringify(body)), { key: 'kiosk', headers: { 'content-encoding': 'gzip' } }), expected)
    assert.equal(await outcome(body), '200')
  }
  assert.equal(await outcome(batch(1, 3000), { key: 'kiosk' }), '200')
  await until('the event that is too large is set aside', async () =>
    (await relay.dead('--source', 'kiosk')).some((d) => d.reason.startsWith('event_too_large')))
  await partner.arrived(5 + 5 + 6 + 1) // the same bodies again are duplicates
  relay.config.sources[1].limits = { body: '128KiB' }
  relay.write()
  assert.match((await relay.command('check')).stderr, /sources\[2\]\.limits\.body: is 131072, more than limits\.body \(65536\)/)
  relay.config.sources[1].limits = undefined
  relay.pinPorts()
  relay.write()
  const { code, stderr } = await relay.command('reload')
  assert.equal(code, 0, stderr)
  assert.equal(await outcome(batch(6, 1500), { key: 'kiosk' }), '200')
})

// Bad events of one source are bounded: the oldest go, and that is counted. Others' stay.
test('bad events cannot fill the disk', async (t) => {
  const { relay } = await world(t, {
    spool: { path: './spool', max_bytes: '16MiB' },
    sources: [{ name: 'web', write_key: WRITE_KEY }, { name: 'app', write_key: 'app' }],
  })
  await relay.start()
  const bad = (n, padding) => ({ batch: Array.from({ length: n }, (_, i) => ({ type: 'track', messageId: `${i}`, properties: { a: 'x'.repeat(padding) } })) })
  assert.equal((await send(relay, '/v1/batch', { body: bad(3, 10), key: 'app' })).status, 200)
  for (let i = 0; i < 40; i++) assert.equal((await send(relay, '/v1/batch', { body: bad(20, 4000) })).status, 200)
  await until('the oldest are dropped', () => relay.metric('tidegate_setaside_dropped_total', { source: 'web' }))
  const ceiling = 16 * MIB / 50
  await until('they are within their share', async () => {
    const left = (await relay.dead('--source', 'web')).length * 4500
    return left > ceiling / 4 && left < ceiling * 1.25 || Promise.reject(new Error(`${left} of ${ceiling}`))
  })
  assert.equal((await relay.dead('--source', 'app')).length, 3)
})

function certificate(dir, name) {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', `/CN=${name}`, '-keyout', join(dir, 'relay.key'), '-out', join(dir, 'relay.crt')], { stdio: 'ignore' })
}

function overTls(port, text, options = {}) {
  return new Promise((done, fail) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, () => socket.write(text))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk
      if (!answer.includes('}')) return
      done({ answer, subject: socket.getPeerCertificate().subject.CN, protocol: socket.getProtocol() })
      socket.end()
    })
    socket.on('error', fail)
    socket.on('close', () => fail(new Error(`it ended after: ${answer}`)))
  })
}

// Who begins a TLS handshake and does not end it is cut off, and the others do not notice.
test('slow TLS handshakes', async (t) => {
  const dir = folder(t)
  certificate(dir, 'slow')
  const { relay } = await world(t, {
    limits: { request_time: '1s' },
    listen: ['127.0.0.1:0', { addr: '127.0.0.1:0', cert: join(dir, 'relay.crt'), key: join(dir, 'relay.key') }],
  })
  await relay.start()
  const port = Number(relay.lines('listening')[1].addr.split(':').pop())
  const hello = Buffer.from('1603010200010001fc0303', 'hex')
  await Promise.all(Array.from({ length: 20 }, () => new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(hello))
    const drip = setInterval(() => socket.write(Buffer.from([0])), 100)
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(drip)
      done()
    })
  })))
  await stillServed(relay)
  const asked = await until('who does not dawdle is served', () => // this very process may, when it is kept waiting
    overTls(port, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'))
  assert.match(asked.answer, /^HTTP\/1\.1 200 OK\r\n/)
})

// A listener with a certificate speaks TLS 1.2 and up, beside a plain one; SIGHUP reads the certificate anew, and one
// that cannot be read leaves the old one in place.
test('TLS', async (t) => {
  const dir = folder(t)
  certificate(dir, 'first')
  const { partner, relay } = await world(t, {
    listen: ['127.0.0.1:0', { addr: '127.0.0.1:0', cert: join(dir, 'relay.crt'), key: join(dir, 'relay.key') }],
  })
  await relay.start()
  const port = Number(relay.lines('listening')[1].addr.split(':').pop())
  const request = () => {
    const body = JSON.stringify(track('Safe'))
    return `POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  }
  const first = await overTls(port, request())
  assert.match(first.answer, /^HTTP\/1\.1 200 OK\r\n/)
  assert.deepEqual([first.subject, first.protocol], ['first', 'TLSv1.3'])
  assert.equal((await overTls(port, request(), { maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2')
  await assert.rejects(overTls(port, request(), { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }))
  await stillServed(relay)
  const { answer: settings } = await overTls(port, `GET /v1/projects/${WRITE_KEY}/settings HTTP/1.1\r\nHost: relay.example\r\n\r\n`)
  assert.match(settings, /"apiHost":"relay\.example\/v1","protocol":"https"/, 'browsers are told how they came')
  certificate(dir, 'second')
  relay.signal('SIGHUP')
  await relay.says('configuration reloaded') // by every worker
  assert.equal((await overTls(port, request())).subject, 'second')
  execFileSync('cp', ['/dev/null', join(dir, 'relay.key')])
  relay.signal('SIGHUP')
  await until('the failure is said', () => /not reloaded|reload refused/.test(relay.log))
  assert.equal((await overTls(port, request())).subject, 'second')
  await partner.arrived(4)
})
