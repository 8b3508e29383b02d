#!/usr/bin/env bash
# spark-submit with the project's own Spark, configuration and Python, whatever the shell around it has set.
# Every flag goes on to Spark: ./spark-submit.sh --master spark://host:7077 jobs/streaming/monitor.py
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
python="$root/.venv/bin/python"
spark=$(echo "$root"/.venv/lib/python3*/site-packages/pyspark)
if [ ! -x "$python" ] || [ ! -d "$spark" ]; then
    echo "agentmon: the environment is not set up: run make setup in $root" >&2
    exit 1
fi

"$python" -m agentmon.stack.java

export SPARK_HOME="$spark" SPARK_CONF_DIR="$root/conf"
export PYSPARK_PYTHON="$python" PYSPARK_DRIVER_PYTHON="$python"
export PATH="$root/.venv/bin:$PATH"
unset SPARK_ENV_LOADED PYSPARK_DRIVER_PYTHON_OPTS

master="local"
previous=""
for argument in "$@"; do
    case "$argument" in
        --master=*) master="${argument#--master=}" ;;
        *.py) break ;;
        *) if [ "$previous" = "--master" ]; then master="$argument"; fi ;;
    esac
    previous="$argument"
done
# Files of conf/ that Spark finds on its class path, where somebody has put some beside ours.
others=""
for file in "$root"/conf/*; do
    case "${file##*/}" in
        spark-defaults.conf | *log4j2.properties | topics.json | alerts.toml) ;;
        *) others=yes ;;
    esac
done

case "$master" in
    local*)
        # On this machine alone nobody else needs to find the driver, and a host name that does not resolve does not matter.
        export SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=localhost
        if [ -z "$others" ]; then
            # Java takes classes from an archive (stack/classes.py) only where no folder with files is on its class
            # path, as conf/ would be: so its files are named instead.
            export SPARK_CONF_DIR="$root/.jars/no-conf"
            set -- --properties-file "$root/conf/spark-defaults.conf" "$@"
            options="-Dlog4j2.configurationFile=\"$root/conf/log4j2.properties\""
            classes="$root/.jars/classes/spark.jsa"
            if [ -f "$classes" ]; then
                options="$options -XX:SharedArchiveFile=\"$classes\" -Xlog:cds=off -Xlog:cds+dynamic=off"
            fi
            export SPARK_SUBMIT_OPTS="$options ${SPARK_SUBMIT_OPTS:-}"
        fi
        ;;
esac

# The driver's Python is ours also where spark.pyspark.python names another one for executors (docs/cluster.md).
exec "$SPARK_HOME/bin/spark-submit" --conf spark.pyspark.driver.python="$python" "$@"
