import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { completionScripts } from './completion-scripts.ts'

const packaged = { bash: 'visor.bash', zsh: '_visor', fish: 'visor.fish' } as const

test('the packaged completion scripts are those that visor prints', async () => {
  for (const [shell, file] of Object.entries(packaged)) {
    const text = await readFile(resolve(import.meta.dirname, '../../packaging/completions', file), 'utf8')
    const remedy = `visor completion ${shell} > packaging/completions/${file}`
    assert.equal(text, completionScripts[shell as keyof typeof packaged], remedy)
  }
})
