// A certificate authority and a certificate for 127.0.0.1, made for one test.

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

function openssl(...args) {
  execFileSync('openssl', args, { stdio: 'pipe' })
}

// Files in `dir`: {caFile, key, cert} with key and cert as text.
export function certificate(dir, name = 'partner') {
  const at = (file) => join(dir, `${name}-${file}`)
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', `/CN=${name} authority`, '-keyout', at('ca.key'), '-out', at('ca.pem'))
  openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`,
    '-keyout', at('key.pem'), '-out', at('csr.pem'))
  writeFileSync(at('ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  openssl('x509', '-req', '-in', at('csr.pem'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial',
    '-days', '2', '-extfile', at('ext'), '-out', at('cert.pem'))
  return {
    caFile: at('ca.pem'), keyFile: at('key.pem'), certFile: at('cert.pem'),
    key: readFileSync(at('key.pem')), cert: readFileSync(at('cert.pem')),
  }
}
