// Headless Chromium as Debian packages it, and the pages that load the SDKs for browsers.

import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { chromium } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
const MODULES = join(dirname(fileURLToPath(import.meta.url)), '../node_modules')

export const hasChromium = existsSync(CHROMIUM)

export const PATIENCE_MS = 180_000 // a first start on a slow machine

export function launch() {
  return chromium.launch({
    timeout: PATIENCE_MS,
    executablePath: CHROMIUM,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  })
}

// Serves /NAME.html, a page that loads scripts[NAME], a file of an npm package.
export async function servePages(scripts) {
  const server = createServer((req, res) => {
    const [, name, kind] = /^\/([a-z]+)\.(html|js)$/.exec(req.url.split('?')[0]) ?? []
    if (!scripts[name]) {
      res.writeHead(404).end()
    } else if (kind === 'js') {
      res.writeHead(200, { 'content-type': 'text/javascript; charset=utf-8' }).end(readFileSync(join(MODULES, scripts[name])))
    } else {
      res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
        .end(`<!doctype html><title>A page</title><script src="${name}.js"></script>`)
    }
  })
  await new Promise((done) => { server.listen(0, '127.0.0.1', done) })
  return server
}
