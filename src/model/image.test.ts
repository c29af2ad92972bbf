import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kernelCommandLine } from './image.ts'

test('a guest takes its name as hostname where the image can and the name is one', () => {
  const image = { commandLine: 'quiet', hostnameParameter: 'visor.hostname' }
  assert.equal(kernelCommandLine(image, 'web-1'), 'quiet visor.hostname=web-1')
  assert.equal(kernelCommandLine({ ...image, commandLine: undefined }, 'web'), 'visor.hostname=web')
  for (const name of ['my web', 'a=b', '-x', 'x-', 'näh', 'a'.repeat(64)])
    assert.equal(kernelCommandLine(image, name), 'quiet', name)
  assert.equal(kernelCommandLine({ commandLine: 'quiet' }, 'web'), 'quiet')
})
