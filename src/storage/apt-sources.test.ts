import assert from 'node:assert/strict'
import { test } from 'node:test'
import { distributionSources } from './apt-sources.ts'

test('the sources of the distribution are kept, those of others are not', () => {
  const text = `# comment
deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] https://mirror.example/debian bookworm main contrib # our mirror
deb-src https://mirror.example/debian bookworm main
deb https://mirror.example/debian-security bookworm-security main
deb https://other.example/apt bookworm-pgdg main
deb https://other.example/docker bookworm stable
`
  assert.equal(
    distributionSources([{ name: '/etc/apt/sources.list', text }], 'bookworm'),
    `types: deb
uris: https://mirror.example/debian
suites: bookworm
components: main contrib
signed-by: /usr/share/keyrings/d.gpg

types: deb
uris: https://mirror.example/debian-security
suites: bookworm-security
components: main
`,
  )
})

test('the new style is read too, with a key inside it', () => {
  const text = `Types: deb deb-src
URIs: https://mirror.example/ubuntu
Suites: noble noble-updates noble-backports
Components: main universe
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: https://off.example
Suites: noble
Components: main
`
  const sources = distributionSources([{ name: 'ubuntu.sources', text }], 'noble')
  assert.match(sources, /^suites: noble noble-updates$/mu)
  assert.match(sources, /^signed-by: -----BEGIN PGP PUBLIC KEY BLOCK-----\n \.\n abc$/mu)
  assert.doesNotMatch(sources, /off\.example|architectures|deb-src/u)
})

test('no source of the distribution gives nothing', () => {
  assert.equal(
    distributionSources([{ name: 'a.list', text: 'deb https://other.example x main' }], 'bookworm'),
    '',
  )
})
