export * from './directories.ts'
export * from './facts/index.ts'
export * from './process.ts'
export * from './undo.ts'
