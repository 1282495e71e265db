// A port that nobody listens on and that no other test is given meanwhile: it is the near end of a connection.

import { connect, createServer } from 'node:net'

const HOST = '127.0.0.1'
let anchor // the far end of all of them; it keeps no process alive

// Once it is there, a port can be held in the turn of the loop in which it gets free.
export async function anchorPort() {
  anchor ??= new Promise((done) => {
    const server = createServer((socket) => socket.on('error', () => {}).unref())
    server.listen(0, HOST, () => done(server.unref()))
  })
  return (await anchor).address().port
}

// Holds the port until `letGo` is called; connections to it are refused. Who may listen on ports in use, as servers of
// Node.js and the relay do, may take it over in between.
export async function holdPort(port) {
  const socket = connect({ host: HOST, port: await anchorPort(), localAddress: HOST, localPort: port })
  await new Promise((done) => {
    socket.once('connect', done)
    socket.once('error', done) // somebody has it already: nothing to hold
  })
  socket.on('error', () => {})
  socket.unref()
  return { letGo: () => socket.resetAndDestroy() } // no port waits for the end of its time
}
