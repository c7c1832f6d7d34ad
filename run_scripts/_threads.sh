# Sourced by the scripts that start several processes. torch.distributed.run gives each process a single thread; what
# stays on the CPU (scorers, near duplicates, tables) then takes many times as long. Usage: tldr_threads NUM_PROCESSES
tldr_threads() {
    local cores
    cores=$(nproc)
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > $1 ? cores / $1 : 1))}
}
