#!/bin/sh
# Scores /srv/fergi-reward/manifest.csv; docs/OFFLINE.md says what to do at each status. The line for `crontab -e`:
# 30 1 * * * /srv/fergi-reward/nightly.sh >> /srv/fergi-reward/nightly.log 2>&1 || echo "nightly.sh ended with status $?"
cd /srv/fergi-reward && export HF_HUB_OFFLINE=1 || exit
PATH=/opt/fergi-reward/bin:$PATH
date
fergi-reward download image_reward pickscore hps_v2 --out models --check --quiet || exit
fergi-reward score --images manifest.csv --calibration shipped --out scores.csv \
  --checkpoints image_reward=models/image_reward,pickscore=models/pickscore,hps_v2=models/hps_v2
