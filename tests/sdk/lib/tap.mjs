// Stands between an SDK and the relay as a piece of cable: bytes pass both ways unchanged, and a copy of them tells what
// was asked and what was answered. Only so can a test know which events were acknowledged, whatever the SDK makes of it.

import { connect, createServer } from 'node:net'
import { Transform } from 'node:stream'
import { gunzipSync } from 'node:zlib'

// Splits one direction of a connection into HTTP messages: {first, headers, body}.
class MessageSplitter {
  #bytes = Buffer.alloc(0)

  constructor(onMessage) {
    this.onMessage = onMessage
  }

  take(chunk) {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    for (;;) {
      const message = this.#next()
      if (!message) return
      this.onMessage(message)
    }
  }

  #next() {
    const end = this.#bytes.indexOf('\r\n\r\n')
    if (end < 0) return null
    const [first, ...lines] = this.#bytes.subarray(0, end).toString('latin1').split('\r\n')
    const headers = Object.fromEntries(lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }))
    const body = headers['transfer-encoding'] ? this.#chunked(end + 4) : this.#counted(end + 4, Number(headers['content-length'] ?? 0))
    if (!body) return null
    this.#bytes = this.#bytes.subarray(body.end)
    return { first, headers, body: headers['content-encoding'] === 'gzip' ? gunzipSync(body.bytes) : body.bytes }
  }

  #counted(from, length) {
    const end = from + length
    return this.#bytes.length < end ? null : { bytes: this.#bytes.subarray(from, end), end }
  }

  #chunked(from) {
    const chunks = []
    for (let at = from; ;) {
      const line = this.#bytes.indexOf('\r\n', at)
      if (line < 0) return null
      const size = parseInt(this.#bytes.subarray(at, line).toString('latin1'), 16)
      const end = line + 2 + size + 2
      if (this.#bytes.length < end) return null
      if (size === 0) return { bytes: Buffer.concat(chunks), end }
      chunks.push(this.#bytes.subarray(line + 2, end - 2))
      at = end
    }
  }
}

export class Tap {
  #sockets = new Set()

  // Every request that was sent whole: {method, path, headers, body, at, status, answer}; the last two are undefined
  // until it is answered, and for ever when the connection breaks first.
  exchanges = []
  broken = 0 // connections that the relay did not take, or broke
  #before // runs, and is waited for, before the next POST goes on to the relay
  #opened

  static async start(t, relay) {
    const tap = new Tap()
    tap.server = createServer((client) => tap.#join(client, connect(relay.port, '127.0.0.1')))
    await new Promise((done) => { tap.server.listen(0, '127.0.0.1', done) })
    tap.host = `127.0.0.1:${tap.server.address().port}`
    tap.url = `http://${tap.host}`
    t.after(() => {
      tap.server.close()
      for (const socket of tap.#sockets) socket.destroy()
    })
    return tap
  }

  #join(client, relay) {
    const waiting = [] // requests of this connection that have no answer yet
    const requests = new MessageSplitter(({ first, headers, body }) => {
      const [method, path] = first.split(' ')
      const exchange = { method, path, headers, body: body.toString(), at: Date.now() }
      this.exchanges.push(exchange)
      waiting.push(exchange)
    })
    const answers = new MessageSplitter(({ first, headers, body }) => {
      Object.assign(waiting.shift() ?? {}, { status: Number(first.split(' ')[1]), answer: { headers, body: body.toString(), at: Date.now() } })
    })
    client.on('data', (chunk) => requests.take(chunk))
    relay.on('data', (chunk) => answers.take(chunk))
    client.pipe(this.#gate()).pipe(relay)
    relay.pipe(client)
    relay.on('error', () => {
      this.broken++
      client.destroy()
    })
    relay.on('close', () => client.destroySoon())
    client.on('error', () => relay.destroy())
    client.on('close', () => relay.destroySoon())
    for (const socket of [client, relay]) {
      socket.setNoDelay(true)
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    }
  }

  // Nothing that is posted from now on goes to the relay before `what` has been done, once.
  beforeNextPost(what) {
    this.#before = what
    this.#opened = undefined
  }

  // Passes on what an SDK sends; a POST waits for what shall have happened before.
  #gate() {
    return new Transform({
      transform: async (chunk, _, done) => {
        if (chunk.subarray(0, 5).toString() === 'POST ') {
          this.#opened ??= this.#before?.()
          await this.#opened
        }
        done(null, chunk)
      },
    })
  }

  // Requests that carry events: all, or those that were answered so.
  posts(status) {
    return this.exchanges.filter((x) => x.method === 'POST' && (status === undefined || x.status === status))
  }

  // The events of a request as the SDK wrote them, each with what came around it.
  eventsOf({ path, headers, body }) {
    const envelope = JSON.parse(body)
    return envelope.batch
      ? envelope.batch.map((event) => ({ event, envelope, path, headers }))
      : [{ event: envelope, envelope: {}, path, headers }]
  }

  sent(status) {
    return this.posts(status).flatMap((post) => this.eventsOf(post))
  }
}
