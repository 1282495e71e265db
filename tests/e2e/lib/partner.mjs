// A stand-in partner: an HTTP server that records every request and answers as it is told.

import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { gunzipSync } from 'node:zlib'

import { anchorPort, holdPort } from './port.mjs'
import { until } from './wait.mjs'

// An answer: {status, headers, body}, or a word:
export const HANG = 'hang' // the request is read, nothing is said
export const CUT = 'cut' // the connection is reset instead of an answer
export const DRIP = 'drip' // the head at once, the body byte by byte, without end

export class Partner {
  #sockets = new Set()
  #drips = new Set()
  #held = null // the port while it is stopped
  #parsed = new WeakMap() // request: its events, since those who wait ask again and again

  // `answer`: an answer, or a function of the request, which may be asynchronous. `script` holds answers for the next
  // requests, which come first. `tls`: {key, cert}.
  constructor({ answer = { status: 200 }, script = [], tls } = {}) {
    this.answer = answer
    this.script = [...script]
    this.requests = []
    this.tls = tls
    this.port = 0
  }

  static async start(t, options) {
    const partner = new this(options)
    t.after(async () => {
      await partner.stop()
      partner.letGo()
    })
    await partner.start()
    return partner
  }

  // Listens, on the same port as before when it did already.
  async start() {
    const onRequest = (req, res) => this.#take(req, res)
    await anchorPort()
    this.server = this.tls ? createTlsServer(this.tls, onRequest) : createServer(onRequest)
    this.server.keepAliveTimeout = 0
    this.server.on('error', () => {}) // those of listening are met below
    this.server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
    })
    await until('the port is free', () => new Promise((done, fail) => {
      this.server.once('error', (error) => {
        this.letGo()
        fail(error)
      })
      this.server.listen(this.port, '127.0.0.1', () => done(true))
    }))
    this.letGo()
    this.port = this.server.address().port
    this.url = `${this.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`
    return this
  }

  // From now on connections are refused, until it is started again: the port stays its own.
  async stop() {
    for (const timer of this.#drips) clearInterval(timer)
    this.#drips.clear()
    if (!this.server?.listening) return
    const closed = new Promise((done) => { this.server.close(done) })
    const held = holdPort(this.port) // at once: the port is free from here on
    for (const socket of this.#sockets) socket.destroy()
    await closed
    this.#held = await held
  }

  letGo() {
    this.#held?.letGo()
    this.#held = null
  }

  async #take(req, res) {
    const chunks = []
    try {
      for await (const chunk of req) chunks.push(chunk)
    } catch {
      return // the sender was killed in the middle: it is no request
    }
    const bytes = Buffer.concat(chunks)
    const request = {
      method: req.method,
      url: req.url,
      path: req.url.split('?')[0],
      headers: req.headers,
      body: (req.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString(),
      at: Date.now(),
    }
    this.requests.push(request)
    const told = this.script.length ? this.script.shift()
      : typeof this.answer === 'function' ? await this.answer(request, this) : this.answer
    this.#give(told, req, res)
  }

  #give(told, req, res) {
    if (told === HANG) return
    if (told === CUT) {
      req.socket.resetAndDestroy()
      return
    }
    if (told === DRIP) {
      res.writeHead(200, { 'content-length': '100000' })
      const timer = setInterval(() => res.write('.'), 50)
      this.#drips.add(timer)
      return
    }
    res.writeHead(told.status, told.headers ?? {})
    res.end(told.body ?? '')
  }

  // Waits until there are at least n requests (that the filter likes) and returns them.
  arrived(n, { filter = () => true, seconds } = {}) {
    return until(`${n} requests at the partner`, () => {
      const found = this.requests.filter(filter)
      if (found.length >= n) return found
      throw new Error(`${found.length} of ${this.requests.length}`)
    }, { seconds })
  }

  // JSON events of all requests: objects, arrays of them, and batches.
  events() {
    return this.requests.flatMap((r) => {
      if (!this.#parsed.has(r)) {
        const body = JSON.parse(r.body)
        this.#parsed.set(r, Array.isArray(body) ? body : body.batch ?? [body])
      }
      return this.#parsed.get(r)
    })
  }

  messageIds() {
    return this.events().map((e) => e.messageId)
  }
}

// The pairs of a query or form body, sorted, so that tests do not depend on their order.
export function pairs(text) {
  return Object.fromEntries([...new URLSearchParams(text)].sort(([a], [b]) => (a < b ? -1 : 1)))
}

// Exactly what was asked for beside the headers that every HTTP client sends.
export function shown(request) {
  const { host, connection, accept, 'content-length': length, ...headers } = request.headers
  return { method: request.method, url: request.url, headers, body: request.body }
}
