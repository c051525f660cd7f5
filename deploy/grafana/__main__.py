"""Write the dashboards into their directory: `python -m deploy.grafana`."""

from deploy.grafana.writing import write

if __name__ == "__main__":
    write()
