#!/bin/bash
# One run on the GPUs of two machines that share MUSIC and ARCHIVE under the same paths:
#     accelerate-two-machines.sh 0     on the machine with the address ADDRESS
#     accelerate-two-machines.sh 1     on the other one, within a few minutes
set -eu
machine=${1:?0 or 1: which machine this is}
: "${ACCELERATE:=/opt/earzip/bin/accelerate}" "${MUSIC:=/srv/music}" "${ARCHIVE:=/srv/archive}"
: "${ADDRESS:=192.0.2.1}" "${PORT:=29500}" "${PROCESSES:=8}" # of one machine: its GPUs

# --multi_gpu starts that many processes, on CPUs too; without it accelerate starts one.
exec "$ACCELERATE" launch --multi_gpu --num_machines 2 --num_processes "$((2 * PROCESSES))" \
    --machine_rank "$machine" --main_process_ip "$ADDRESS" --main_process_port "$PORT" \
    --mixed_precision no --dynamo_backend no \
    -m earzip compress "$MUSIC" -o "$ARCHIVE" --grace 20
